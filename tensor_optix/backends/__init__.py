"""What differs between NumPy and the frameworks: operations, differentiation, optimizer steps."""
