"""Anatomy: one patient's, or a phantom's.

Lives here: grids, regions and their cells, structures, targets, phantoms, readers and writers of DICOM-RT and archives.
Enters: files, and numbers in mm, HU and Gy. Leaves: `Case`.
"""
