"""The console: a mesh in the browser, for those who operate it. It needs the extra `jetmesh[console]`."""
