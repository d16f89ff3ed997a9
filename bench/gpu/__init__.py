"""What the shim does on a real NVIDIA GPU, measured beside the bare driver in the same run.

`python bench/gpu/run.py --help` says how. `inside` is what runs in the processes that are
measured: only the driver's API through ctypes, and PyTorch where there is one. `steps` are
the questions, asked from outside. Nothing measured on the simulated driver is a result.
"""
