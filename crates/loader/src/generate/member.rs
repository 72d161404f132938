//! Classifies a file of a directory by its path.

use std::path::{Component, Path};

/// Directories with executables that people and other programs start.
const PROGRAMS: [&str; 6] = ["bin", "sbin", "libexec", "games", "cgi-bin", "Scripts"];

/// Directories whose scripts are modules, data or examples, at any depth.
const MODULES: [&str; 12] = [
    "node_modules",
    "site-packages",
    "dist-packages",
    "perl5",
    "perl",
    "gems",
    "share",
    "doc",
    "docs",
    "example",
    "examples",
    "src",
];

/// Directories of test data.
const TESTS: [&str; 8] =
    ["test", "tests", "testdata", "test-data", "test_data", "testing", "fixtures", "__tests__"];

/// Returns whether a script at a path is a program of the directory `top`: it is directly in `top`, or in a
/// directory for programs outside trees of modules, examples or test data.
pub(super) fn is_place_of_programs(top: &Path, path: &Path) -> bool {
    let Ok(inside) = path.strip_prefix(top) else { return true };
    let directories = names(inside.parent().unwrap_or(inside));
    let own = top.file_name().map(|name| name.to_string_lossy().into_owned());
    if directories.is_empty() {
        return !own.is_some_and(|own| is_library_of_python(&own));
    }
    let is_module = |name: &String| {
        MODULES.contains(&name.as_str()) || TESTS.contains(&name.as_str()) || is_library_of_python(name)
    };
    directories.iter().any(|name| PROGRAMS.contains(&name.as_str()))
        && !directories.iter().chain(&own).any(is_module)
}

/// Returns whether a path of the scope is in a directory of test data.
pub(super) fn is_test_data(path: &str) -> bool {
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    directory.split('/').any(|name| TESTS.contains(&name))
}

/// Returns whether a file of the directory `top` is in a directory of test data below it.
pub(super) fn is_test(top: &Path, path: &Path) -> bool {
    path.strip_prefix(top).is_ok_and(|inside| is_test_data(&inside.to_string_lossy()))
}

/// Returns whether a path is that of a debug file made by `objcopy --only-keep-debug`. GDB's manual, "Debugging
/// Information in Separate Files", defines these paths.
pub(super) fn is_debug_file(path: &Path) -> bool {
    let is_place = |name: &String| name == ".debug" || name == ".build-id";
    path.extension().is_some_and(|extension| extension == "debug") || names(path).iter().any(is_place)
}

fn names(path: &Path) -> Vec<String> {
    let components = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    });
    components.collect()
}

/// Returns whether a name is like `python3.11`.
fn is_library_of_python(name: &str) -> bool {
    name.strip_prefix("python").is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_programs_at_the_top_and_in_directories_for_programs() {
        let is_program = |path: &str| is_place_of_programs(Path::new("/app"), &Path::new("/app").join(path));
        for path in
            ["run.sh", "bin/run", "usr/local/sbin/run", "libexec/git-core/mergetools/run", "bin/tool/x"]
        {
            assert!(is_program(path), "{path}");
        }
        for path in [
            "lib/python3.11/lib2to3/pgen2/token.py",
            "lib/python3.11/site-packages/x/bin/y",
            "node_modules/semver/bin/semver.js",
            "tests/bin/x",
            "share/app/bin/x",
            "tools/x.sh",
        ] {
            assert!(!is_program(path), "{path}");
        }
        let modules = Path::new("/srv/node_modules");
        assert!(!is_place_of_programs(modules, Path::new("/srv/node_modules/semver/bin/semver.js")));
        assert!(is_place_of_programs(modules, Path::new("/srv/node_modules/run.sh")));
        let python = Path::new("/usr/lib/python3.11");
        assert!(!is_place_of_programs(python, Path::new("/usr/lib/python3.11/cgi.py")));
    }

    #[test]
    fn test_data_is_known_by_its_directory() {
        assert!(is_test_data("debug/elf/testdata/gcc-amd64") && is_test_data("tests/a/b"));
        assert!(!is_test_data("lib/libtest.so") && !is_test_data("tests"));
    }

    #[test]
    fn debug_files_are_known_by_their_place() {
        assert!(is_debug_file(Path::new("/app/bin/x.debug")) && is_debug_file(Path::new("/app/.debug/x.so")));
        assert!(!is_debug_file(Path::new("/app/debug/x.so")) && !is_debug_file(Path::new("/app/debug")));
        assert!(is_test(Path::new("/a"), Path::new("/a/b/testdata/x")));
        assert!(!is_test(Path::new("/tests"), Path::new("/tests/x")));
    }
}
