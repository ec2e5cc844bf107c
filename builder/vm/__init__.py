"""Virtual machines under QEMU: to run an image on a workstation, and to test one hard."""
