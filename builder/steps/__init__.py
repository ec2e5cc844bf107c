"""The pipeline's steps, one small file each: tool tree, packages, root, initrd, seal, UKI, disk."""
