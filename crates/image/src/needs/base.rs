//! The part of an image that host libraries use: its C library, its compiler's runtime, and the definitions of
//! the libraries that its programs load.
//!
//! The exact needs of a host's libraries are unknown, so an image that expects host libraries records more of
//! itself.

use std::collections::HashSet;

use compat_loader::spec::{Object, ObjectKind};

/// Libraries that any image with a C library may contain and that host libraries are linked against, by their
/// sonames.
const NAMES: [&str; 21] = [
    "libc.so.6",
    "libm.so.6",
    "libmvec.so.1",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libutil.so.1",
    "libresolv.so.2",
    "libanl.so.1",
    "libnsl.so.1",
    "libcrypt.so.1",
    "libgcc_s.so.1",
    "libstdc++.so.6",
    "libatomic.so.1",
    "libgomp.so.1",
    "libgfortran.so.3",
    "libgfortran.so.4",
    "libgfortran.so.5",
    "libquadmath.so.0",
    "libssp.so.0",
    "libitm.so.1",
];

/// The names of the libraries that host libraries take from the image.
pub(super) fn names() -> Vec<String> {
    NAMES.iter().map(|name| (*name).to_owned()).collect()
}

/// Returns the paths of the libraries that host libraries may bind to: all except those that depend on host
/// libraries (`expected`) themselves.
pub(super) fn below_host_libraries(objects: &[Object], expected: &HashSet<&str>) -> HashSet<String> {
    let name = |object: &Object| {
        let of_file = || object.path.rsplit('/').next().unwrap_or_default().to_owned();
        object.soname.clone().unwrap_or_else(of_file)
    };
    let mut above: HashSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
    loop {
        let is_new = |object: &&Object| {
            !above.contains(&name(object)) && object.needed.iter().any(|needed| above.contains(needed))
        };
        let more: Vec<String> = objects.iter().filter(is_new).map(name).collect();
        if more.is_empty() {
            break;
        }
        above.extend(more);
    }
    // glibc's C library names an interpreter because it can be executed.
    let is_library = |object: &&Object| object.kind == ObjectKind::Library || object.soname.is_some();
    let libraries = objects.iter().filter(is_library);
    libraries.filter(|object| !above.contains(&name(object))).map(|object| object.path.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_upon_the_hosts_libraries_provides_them_with_nothing() {
        let object = |path: &str, kind, needed: &[&str]| Object {
            needed: needed.iter().map(|name| (*name).to_owned()).collect(),
            soname: path.starts_with("lib").then(|| path.to_owned()),
            ..Object::new(path, kind, "x86_64", 64)
        };
        let objects = [
            object("app", ObjectKind::Executable, &["libsolver.so", "libz.so.1"]),
            object("libsolver.so", ObjectKind::Library, &["libmatrix.so", "libz.so.1"]),
            object("libmatrix.so", ObjectKind::Library, &["libmpi.so.40"]),
            object("libz.so.1", ObjectKind::Library, &["libc.so.6"]),
            object("libc.so.6", ObjectKind::Executable, &[]),
        ];
        let below = below_host_libraries(&objects, &HashSet::from(["libmpi.so.40"]));
        assert_eq!(below, HashSet::from(["libz.so.1".to_owned(), "libc.so.6".to_owned()]));
    }
}
