// The precompiled header of targets without LibTorch is made with this file.
