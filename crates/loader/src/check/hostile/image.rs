//! The same for specifications of images: loaders, caches, small files, and libraries that a runtime mounts.

use base64::Engine as _;

use super::{document, exceeded, names, object, program, report, wants};
use crate::check::{Matter, Remark, Verdict};
use crate::elf::{Class, Machine};
use crate::host::DynamicLoader;
use crate::spec::{self, CacheLine, Flavour, HostLibrary, Image, Object, Requirement, Specification};

/// Returns the path of the loader in programs of this machine.
fn loader_path() -> String {
    let usual = DynamicLoader::usual_path(Machine::X86_64, Class::Elf64, false);
    usual.expect("this machine has a usual loader").to_owned()
}

fn loader(change: impl FnOnce(&mut spec::DynamicLoader)) -> spec::DynamicLoader {
    let mut loader = spec::DynamicLoader {
        path: loader_path(),
        flavour: Flavour::Glibc { version: Some((2, 36)) },
        default_directories: vec!["/lib".to_owned()],
        cache_path: "/etc/ld.so.cache".to_owned(),
        lib_token: "lib".to_owned(),
        searches_hwcaps: true,
        searches_legacy_hwcaps: true,
        checks_isa: true,
        knows_relr: true,
    };
    change(&mut loader);
    loader
}

/// Returns the specification of an image with the program `app`, its loader and the test's additions.
fn image(objects: Vec<Object>, change: impl FnOnce(&mut Image)) -> Specification {
    let platform = "linux/amd64".to_owned();
    let mut image = Image { platform, loaders: vec![loader(|_| ())], ..Image::default() };
    change(&mut image);
    let own = object(loader_path().trim_start_matches('/'));
    let objects = objects.into_iter().chain([own]).collect();
    Specification { image: Some(image), ..document(objects) }
}

/// Returns programs that all need these libraries.
fn programs(count: usize, needed: &[String]) -> Vec<Object> {
    let path = |number| if number == 0 { "app".to_owned() } else { format!("app{number}") };
    let one = |number| Object { path: path(number), ..program(|program| program.needed = needed.to_vec()) };
    (0..count).map(one).collect()
}

#[test]
fn an_image_with_nothing_strange_is_compatible() {
    let found = report(&image(programs(1, &[]), |_| ()));
    assert_eq!((found.verdict, exceeded(&found)), (Verdict::Compatible, None), "{found:?}");
}

#[test]
fn subjects_that_the_document_does_not_describe_are_not_compatible() {
    let found = report(&image(Vec::new(), |_| ()));
    assert_ne!(found.verdict, Verdict::Compatible);
    assert_eq!(found.subjects.len(), 1);
    let found = report(&document(Vec::new()));
    assert_ne!(found.verdict, Verdict::Compatible);
}

#[test]
fn what_an_image_without_programs_asks_of_drivers_is_compared() {
    let empty = image(Vec::new(), |image| image.requirements = vec![Requirement::Unknown]);
    let found = report(&Specification { subjects: Vec::new(), objects: Vec::new(), ..empty });
    assert_eq!(found.verdict, Verdict::Undecided);
}

#[test]
fn a_cache_with_thousands_of_lines_of_one_name_is_searched_so_far() {
    let line = |number: usize| CacheLine {
        name: "n0".to_owned(),
        path: format!("/l{number}"),
        flags: 0x0303,
        hwcaps: number.is_multiple_of(3).then(|| format!("x86-64-v{}", number % 5)),
        legacy_hwcaps: (number % 7) as u64,
    };
    let mut found = image(programs(200, &names(1)), |image| image.cache = (0..45_000).map(line).collect());
    found.subjects = found.objects.iter().map(|object| object.path.clone()).collect();
    assert_ne!(report(&found).verdict, Verdict::Compatible);
}

#[test]
fn loaders_with_thousands_of_directories_search_so_far() {
    let directories = (0..150_000).map(|number| format!("/directory{number}")).collect();
    let loader = loader(|loader| loader.default_directories = directories);
    let found = report(&image(programs(4, &names(5000)), |image| image.loaders = vec![loader]));
    assert_ne!(found.verdict, Verdict::Compatible);
    assert!(exceeded(&found).is_some());
}

#[test]
fn thousands_of_loaders_of_one_path_are_one() {
    let found = report(&image(programs(1, &[]), |image| image.loaders = vec![loader(|_| ()); 10_000]));
    assert_eq!(found.verdict, Verdict::Compatible);
}

#[test]
fn a_list_of_directories_that_fills_a_file_is_searched_so_far() {
    let list = (0..250_000).map(|number| format!("/d{number}")).collect::<Vec<_>>().join(":");
    let musl = loader(|loader| {
        loader.flavour = Flavour::Musl;
        loader.cache_path = "/etc/ld-musl.path".to_owned();
    });
    let found = report(&image(programs(3, &names(3000)), |image| {
        image.loaders = vec![musl];
        let text = base64::engine::general_purpose::STANDARD.encode(list);
        image.files.insert("/etc/ld-musl.path".to_owned(), text);
    }));
    assert_ne!(found.verdict, Verdict::Compatible);
}

#[test]
fn thousands_of_libraries_that_a_runtime_should_bring_are_looked_for_so_far() {
    let needed = names(20_000);
    let library = |name: &String| HostLibrary {
        name: name.clone(),
        provider: "a driver".to_owned(),
        wanted_by: vec!["app".to_owned(); 4],
        versions: wants(name, "V_1", names(2)).versions,
        symbols: spec::Symbols::default(),
    };
    let found = report(&image(programs(1, &needed), |image| {
        image.host_libraries = needed.iter().map(library).collect();
    }));
    assert_ne!(found.verdict, Verdict::Compatible);
}

#[test]
fn a_library_by_a_path_is_not_one_that_the_host_brings() {
    // The host has it, but the image's loader has another path.
    let path = format!("../..{}", loader_path());
    let brought = HostLibrary {
        name: path.clone(),
        provider: "a driver".to_owned(),
        wanted_by: vec!["app".to_owned()],
        versions: Vec::new(),
        symbols: spec::Symbols::default(),
    };
    let own = "/own/ld.so".to_owned();
    let mut specification = image(programs(1, &[path]), |image| {
        image.host_libraries = vec![brought];
        image.loaders[0].path.clone_from(&own);
    });
    specification.objects[0].interpreter = Some(own);
    specification.objects[1].path = "own/ld.so".to_owned();
    let found = report(&specification);
    assert_eq!(found.verdict, Verdict::Incompatible, "{found:?}");
}

#[test]
fn requirements_without_end_are_asked_once_each() {
    let constraint = Requirement::NvidiaConstraint {
        variable: "NVIDIA_REQUIRE_CUDA".to_owned(),
        constraint: "cuda>=99999.0,driver<1.1.1.1.1 ".repeat(60_000),
    };
    let many = (0..20_000).map(|number| Requirement::NvidiaCapability { capability: format!("c{number}") });
    let found = report(&image(programs(1, &[]), |image| {
        image.requirements = many.chain([constraint, Requirement::Unknown]).collect();
    }));
    assert_ne!(found.verdict, Verdict::Compatible);
    let unknown = found
        .findings
        .iter()
        .filter(|finding| matches!(finding.matter, Matter::Remark(Remark::RequirementUnknown {})));
    assert_eq!(unknown.count(), 1);
}
