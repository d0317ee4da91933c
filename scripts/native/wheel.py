"""Takes TensorFlow's C library and its headers out of a wheel: wheel.py WHEEL FOLDER

Writes FOLDER/tensorflow/libtensorflow_cc.so.2, libtensorflow_framework.so.2 and include/. A wheel is a zip file, and
one of 800 MB unpacks to 3 GB of which the add-on needs a quarter, so only those members are read.
"""
import os
import sys
import zipfile

LIBRARIES = ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2")
# The C interface's headers, and the three that they include from elsewhere in the tree.
HEADERS = ("tensorflow/c/", "tensorflow/core/platform/ctstring", "tsl/platform/ctstring", "xla/tsl/c/")


def wanted(name):
    if name in tuple("tensorflow/" + library for library in LIBRARIES):
        return True
    prefix = "tensorflow/include/"
    return name.startswith(prefix) and name.endswith(".h") and name[len(prefix):].startswith(HEADERS)


def main():
    wheel, folder = sys.argv[1:3]
    found = set()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if not wanted(name):
                continue
            target = os.path.join(folder, *name.split("/"))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with archive.open(name) as source, open(target, "wb") as out:
                while chunk := source.read(1 << 22):
                    out.write(chunk)
            found.add(os.path.basename(name))
    missing = [name for name in (*LIBRARIES, "c_api.h") if name not in found]
    if missing:
        sys.exit("the wheel holds no " + ", ".join(missing))


main()
