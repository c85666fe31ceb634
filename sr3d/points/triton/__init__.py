"""Sampling, ball query and nearest points as Triton kernels, compiled at run time.

Tested in Triton's interpreter against `torch_engine`, and compiled for sm_80, sm_89 and sm_90. Not
tested: nothing has run on a GPU yet.
"""
