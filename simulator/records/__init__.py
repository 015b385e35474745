"""Records of a clinic's image guidance, and what they say of its errors.

Lives here: reading tables of shifts, what is odd in them, classical and Bayesian estimates of M, Σ and σ.
Enters: tables as spreadsheets write them. Leaves: numbers in mm and degrees, DICOM axes, patients by number only.
"""
