// The precompiled <ATen/ATen.h> of targets with LibTorch is made with this file.
