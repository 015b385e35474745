"""Records of a clinic's image guidance and of its patients' breathing, and what they say of errors and motion.

Lives here: reading tables of shifts and breathing records, what is odd in them, classical and Bayesian estimates of M, Σ and σ,
breaths and their spread. Enters: tables as spreadsheets and vendors write them. Leaves: numbers in mm, s and degrees, DICOM
axes, patients by number only.
"""
