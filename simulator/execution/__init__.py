"""Getting it done, and surviving kills. (`simulator.run` is the function.)

Lives here: runs and their folders, tasks, checkpoints, executors and clusters. Enters: `StudyConfig` and a folder. Leaves: that
folder with results, whoever died in between.
"""
