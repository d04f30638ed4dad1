"""What every package here may use: errors, files, progress, registries, devices, the CPU."""
