def install(package_dir):
    pass
