"""HTML and pictures: how results reach the reader. Nothing here computes one."""
