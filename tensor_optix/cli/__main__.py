"""``python -m tensor_optix.cli``: the command line without its installed script."""

from tensor_optix.cli import main

if __name__ == "__main__":
    main()
