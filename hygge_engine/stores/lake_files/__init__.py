"""Tables as folders of files, or as Delta tables: on the local disk, in ADLS Gen2 and in OneLake."""
