"""A session behind pipes: JSON lines on stdin and stdout, arrays in temporary files.

``python -m sammed.worker`` is started by a program that wants segmentations but not torch in its
own process: the 3D Slicer module, a napari plugin, a script in another language. It opens no
port, writes nothing outside its exchange folder, and ends with the process that started it. The
protocol is described in ``docs/worker.md``.
"""
