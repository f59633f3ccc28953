"""The one loop of every distillation, and what a method is to it.

`method` is the contract, `loop` runs one distillation, `together` several in step that share work.
"""
