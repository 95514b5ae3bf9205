// The precompiled <ATen/ATen.h> of every target is made with this file.
