//! Specification x host -> report.
//!
//! The loader's model starts each subject of the specification on the host, up to its entry point. The problems
//! that the loader would report become findings. "Incompatible" is a finding and not an error, so a check never
//! fails.

pub mod catalogue;
#[cfg(test)]
mod directory_tests;
#[cfg(test)]
mod elsewhere_tests;
mod hint;
#[cfg(test)]
mod hint_tests;
#[cfg(test)]
mod hostile;
mod names;
#[cfg(test)]
mod object_tests;
mod recorded;
#[cfg(test)]
mod recorded_tests;
mod report;
mod requirement;
#[cfg(test)]
mod saved_tests;

use std::io;
use std::path::Path;

use crate::elf::{IsaLevel, Machine};
use crate::host::{Drivers, Platform, Profile, Root};
use crate::loader::{
    Application, Context, DEFAULT_PROGRAM_PATH, Environment, HostFiles, Load, Problem, ProfileFiles,
    ScopeContext, ScopeFiles, SealedFiles, SharedFiles,
};
use crate::script::{ARGUMENTS, is_shell, is_wrapper};
use crate::spec::{Image, Interpreted, Recorded, Specification};
use compat_sys::raw;

use hint::Scene;

pub use report::{
    Exactness, Finding, HostSummary, Impact, Matter, REPORT_IDENTIFIER, Remark, Report, Source, Subject,
    Verdict,
};

/// The maximum number of findings with hints. Each hint costs additional searches.
const MOST_WITH_HINTS: usize = 64;

/// The assumptions of a check.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `LD_LIBRARY_PATH` when the program starts.
    pub library_path: Option<String>,
    /// The machine instead of the host's, and whether it is big-endian.
    pub machine: Option<(Machine, bool)>,
    /// The subdirectories of `glibc-hwcaps` for the CPU, best first, on machines other than x86-64.
    pub hwcaps: Vec<String>,
    /// The CPU's level instead of this machine's.
    pub isa: Option<IsaLevel>,
    /// The kernel instead of this machine's.
    pub kernel: Option<crate::elf::KernelVersion>,
    /// The size of a page, in bytes, instead of this machine's.
    pub page_size: Option<u64>,
    /// The program of the host that loads the checked libraries.
    pub host_program: Option<String>,
}

/// The host: a machine, a root file system or a profile. Threads can share it, because each check has its own
/// effort limit.
pub struct Host {
    /// The files.
    pub files: Box<dyn SharedFiles>,
    /// The CPU, the kernel and the environment of a start.
    pub environment: Environment,
    /// The name: the directory of the root, or the file of the profile.
    name: String,
    /// Whether it is read from a profile.
    saved: bool,
    drivers: DriverSource,
}

/// The source of information about a host's drivers.
enum DriverSource {
    /// The files of a root, read on demand.
    Root(Root),
    /// A profile. Old profiles contain no drivers.
    Saved(Option<Drivers>),
}

impl Host {
    /// Returns this machine.
    pub fn this_machine(options: &Options) -> Self {
        let working_directory = std::env::current_dir().map_or_else(|_| "/".to_owned(), raw::of_path);
        Self::of_root(Root::of_this_machine(), working_directory, options)
    }

    /// Returns the root file system in a directory, with this machine's CPU and kernel, unless the root is for
    /// another machine.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read.
    pub fn at(directory: &Path, options: &Options) -> io::Result<Self> {
        Ok(Self::of_root(Root::at(directory)?, "/".to_owned(), options))
    }

    fn of_root(root: Root, working_directory: String, options: &Options) -> Self {
        let name = root.directory().to_string_lossy().into_owned();
        let platform = Platform::of_root(&root);
        let drivers = DriverSource::Root(root.clone());
        let files = Box::new(HostFiles::new(root));
        Self::new(files, name, platform, working_directory, drivers, options)
    }

    /// Returns the files and the environment.
    pub fn context(&self) -> Context<'_> {
        Context::new(self.files.as_ref(), &self.environment)
    }

    /// Returns the drivers, or `None` if they are not known.
    pub fn drivers(&self) -> Option<Drivers> {
        match &self.drivers {
            DriverSource::Root(root) => Some(Drivers::of(root)),
            DriverSource::Saved(drivers) => drivers.clone(),
        }
    }

    /// Returns a saved host.
    pub fn of_profile(profile: Profile, name: String, options: &Options) -> Self {
        let platform = profile.platform();
        let drivers = DriverSource::Saved(profile.drivers.clone());
        let files = Box::new(ProfileFiles::new(profile));
        let saved = true;
        Self { saved, ..Self::new(files, name, platform, "/".to_owned(), drivers, options) }
    }

    /// Returns the files of a root, or of this machine if no directory is given.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read.
    pub fn root_files(directory: Option<&Path>) -> io::Result<HostFiles> {
        Ok(HostFiles::new(directory.map_or_else(|| Ok(Root::of_this_machine()), Root::at)?))
    }

    fn new(
        files: Box<dyn SharedFiles>,
        name: String,
        mut platform: Platform,
        working_directory: String,
        drivers: DriverSource,
        options: &Options,
    ) -> Self {
        if let Some((machine, big_endian)) = options.machine
            && (machine, big_endian) != (platform.machine, platform.big_endian)
        {
            platform = Platform::of_machine(machine, big_endian);
        }
        platform.isa = options.isa.or(platform.isa);
        if !options.hwcaps.is_empty() {
            platform.hwcaps.clone_from(&options.hwcaps);
        }
        platform.kernel = options.kernel.or(platform.kernel);
        platform.page_size = options.page_size.or(platform.page_size);
        // The build options of another kernel are not known.
        platform.x32 = platform.x32.filter(|_| options.kernel.is_none());
        let (library_path, host_program) = (options.library_path.clone(), options.host_program.clone());
        let program_path = DEFAULT_PROGRAM_PATH.to_owned();
        let environment = Environment {
            platform,
            library_path,
            working_directory,
            program_path,
            host_program,
            opens_programs: false,
        };
        Self { files, environment, name, saved: false, drivers }
    }

    /// Returns the summary of this host for a report.
    pub fn summary(&self) -> HostSummary {
        let platform = &self.environment.platform;
        HostSummary {
            root: self.name.clone(),
            saved: self.saved,
            machine: platform.name(),
            isa: platform.isa.map(|isa| isa.to_string()),
            kernel: platform.kernel.map(|kernel| kernel.to_string()),
        }
    }
}

/// Compares a specification with a host.
pub fn check(specification: &Specification, host: &Host) -> Report {
    if specification.is_names_only() {
        return names::check(specification, host);
    }
    let mut report = Report::new(host.summary());
    report.is_of_image = specification.image.is_some();
    let application = Application::of_specification(specification);
    match &specification.image {
        None => report.add_application(&application, host, false, specification.recorded.as_ref()),
        Some(image) => report.add_image(specification, image, application, host),
    }
    if specification.is_newer() {
        report.add_newer(&specification.version);
    }
    if specification.detail.is_some() {
        report.add_names_only(specification.objects.iter().map(|object| object.needed.len()).sum());
    }
    report.concluded()
}

/// Starts each subject of an application on a host, and each of its libraries that no other object of it loads.
pub fn check_application(application: &Application, host: &Host) -> Report {
    let mut report = Report::new(host.summary());
    report.add_application(application, host, true, None);
    report.concluded()
}

impl Report {
    /// Adds the findings about the start of each subject and about the files of recorded runs.
    fn add_application(
        &mut self,
        application: &Application,
        host: &Host,
        all: bool,
        recorded: Option<&Recorded>,
    ) {
        let below = host.files.shared();
        let files = ScopeFiles::new(application, below.as_ref());
        let context = ScopeContext { files: &files, environment: &host.environment };
        let hints = Context::new(&files, &host.environment);
        let started = application.start_all(context, all, |subject, load| {
            self.add(subject, &Scene { load, context: hints });
        });
        started.passed_over.into_iter().for_each(|passed| self.add_finding(Finding::passed_over(passed)));
        if let Some(recorded) = recorded {
            self.add_recorded(recorded, application, context);
        }
    }

    /// Adds the findings about the start of each subject of an image: in the image's root, on the host's CPU and
    /// kernel, with the libraries that a container runtime mounts.
    fn add_image(
        &mut self,
        specification: &Specification,
        image: &Image,
        application: Application,
        host: &Host,
    ) {
        let application = Application { location: Some("/".to_owned()), ..application };
        let environment = Environment {
            library_path: None,
            working_directory: image.working_directory.clone().unwrap_or_else(|| "/".to_owned()),
            program_path: image.program_path.clone().unwrap_or_else(|| DEFAULT_PROGRAM_PATH.to_owned()),
            ..host.environment.clone()
        };
        let below = host.files.shared();
        let sealed = SealedFiles::new(specification, below.as_ref());
        let files = ScopeFiles::new(&application, &sealed);
        let context = ScopeContext { files: &files, environment: &environment };
        let hints = Context::new(&files, &environment);
        application.start_all(context, false, |subject, load| {
            self.add(subject, &Scene { load, context: hints });
        });
        if let Some(recorded) = &specification.recorded {
            self.add_recorded(recorded, &application, context);
        }
        for command in &image.unfollowed {
            let object = format!("the command {command:?}");
            let interpreter = image.command.first().cloned().unwrap_or_default();
            let problem = Problem::ScriptNotFollowed { object, interpreter, started: None };
            let subject = specification.subjects.first().map_or("", String::as_str);
            self.add_finding(Finding::of_problem(&problem, subject, &Load::default()));
        }
        for Interpreted { interpreter, what, missing } in &image.interpreted {
            let object = files.subject(interpreter);
            let problem = Problem::Interpreted { object, what: what.clone(), missing: *missing };
            self.add_finding(Finding::of_problem(&problem, interpreter, &Load::default()));
        }
        if !leads_to_a_program(specification) {
            self.doubt_unfollowed();
        }
        let findings = requirement::findings(specification, &sealed, host);
        findings.into_iter().for_each(|finding| self.add_finding(finding));
    }

    /// Makes the findings about shell scripts without any followed command undecided, because no part of the
    /// application was checked.
    fn doubt_unfollowed(&mut self) {
        let is_unfollowed = |matter: &Matter| {
            matches!(matter, Matter::Problem(Problem::ScriptNotFollowed { interpreter, started: None, .. })
                if is_shell_at(interpreter))
        };
        for finding in self.findings.iter_mut().filter(|finding| is_unfollowed(&finding.matter)) {
            finding.impact = Impact::Undecided;
            let is_it = |subject: &&mut Subject| finding.subjects.contains(&subject.path);
            for subject in self.subjects.iter_mut().filter(is_it) {
                if subject.verdict == Verdict::Compatible {
                    subject.verdict = Verdict::Undecided;
                }
            }
        }
    }

    /// Adds the findings about the start of one subject.
    fn add(&mut self, subject: &str, scene: &Scene<'_>) {
        let load = scene.load;
        let mut worst = Impact::Note;
        for problem in &load.problems {
            let mut finding = Finding::of_problem(problem, subject, load);
            if self.findings.len() < MOST_WITH_HINTS {
                finding.hints = scene.hints(problem);
            }
            worst = worst.max(finding.impact);
            self.add_finding(finding);
        }
        for found in &load.elsewhere {
            let finding = Finding::left_to_search(subject, found, load);
            worst = worst.max(finding.impact);
            self.add_finding(finding);
        }
        for left in &load.left_to_program {
            self.add_finding(Finding::left_to_program(subject, left));
        }
        self.subjects.push(Subject { path: subject.to_owned(), verdict: worst.verdict() });
    }
}

/// Returns whether the command of an image leads to a program other than shells, wrappers and shell scripts that
/// were not followed.
fn leads_to_a_program(specification: &Specification) -> bool {
    let script = |path: &String| specification.scripts.iter().find(|script| script.path == *path);
    // The shell reads a file that is not an object as a script.
    let is_object = |path: &String| !specification.unusable.contains_key(path.trim_start_matches('/'));
    specification.subjects.iter().any(|path| match script(path) {
        Some(script) => script.body.as_ref().is_some_and(|body| match body.command.first() {
            Some(first) => body.command != [ARGUMENTS] && is_object(first),
            None => !body.partial,
        }),
        None => !is_shell_at(path) && !is_wrapper(path.rsplit('/').next().unwrap_or_default()),
    })
}

fn is_shell_at(path: &str) -> bool {
    is_shell(path.rsplit('/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::saved_tests::made_host;
    use super::*;
    use crate::elf::KernelVersion;
    use crate::spec::{LibraryNeed, Object, ObjectKind, Symbols, VersionNeed};

    /// Returns a program of this machine that needs libc.so.6, changed by the test.
    fn program(change: impl FnOnce(&mut Object)) -> Specification {
        let machine = Machine::X86_64;
        let usual = crate::host::DynamicLoader::usual_path(machine, crate::elf::Class::Elf64, false);
        let mut object = Object {
            interpreter: usual.map(str::to_owned),
            needed: vec!["libc.so.6".to_owned()],
            ..Object::new("app", ObjectKind::Executable, &machine.to_string(), 64)
        };
        change(&mut object);
        Specification { subjects: vec!["app".to_owned()], objects: vec![object], ..Specification::new() }
    }

    fn wants(version: &str, symbol: &str) -> LibraryNeed {
        let symbols = Symbols { symbols: vec![symbol.to_owned()], ..Symbols::default() };
        let version = VersionNeed { version: version.to_owned(), optional: false, symbols };
        LibraryNeed { library: "libc.so.6".to_owned(), versions: vec![version] }
    }

    #[test]
    fn threads_share_a_host_and_each_gets_the_report_of_one_alone() {
        fn is_shared<T: Send + Sync>(host: T) -> T {
            host
        }
        let host = is_shared(made_host(&Options::default()));
        let specification = program(|_| {});
        let alone = check(&specification, &host);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| check(&specification, &host))).collect();
            for thread in threads {
                let report = thread.join().unwrap();
                assert_eq!((report.verdict, report.findings.len()), (alone.verdict, alone.findings.len()));
            }
        });
    }

    fn report(specification: &Specification) -> Report {
        check(specification, &made_host(&Options::default()))
    }

    fn problems(report: &Report) -> Vec<&Problem> {
        report
            .findings
            .iter()
            .filter_map(|finding| match &finding.matter {
                Matter::Problem(problem) => Some(problem),
                Matter::Remark(_) => None,
            })
            .collect()
    }

    #[test]
    fn a_program_that_needs_nothing_special_is_compatible() {
        let report = report(&program(|_| {}));
        assert_eq!((report.verdict, report.findings.len()), (Verdict::Compatible, 0), "{report:?}");
    }

    #[test]
    fn a_missing_version_is_told_with_the_newest_that_there_is() {
        let report = report(&program(|object| object.wants.push(wants("GLIBC_2.999", "printf"))));
        assert_eq!(report.verdict, Verdict::Incompatible);
        // The symbol of that version is not reported again.
        let [Problem::VersionMissing { version, highest: Some(highest), .. }] = problems(&report)[..] else {
            panic!("{report:?}");
        };
        assert_eq!(version, "GLIBC_2.999");
        assert!(highest.starts_with("GLIBC_2."), "{highest}");
    }

    #[test]
    fn a_missing_symbol_of_a_version_that_is_there_is_found() {
        let report = report(&program(|object| object.wants.push(wants("GLIBC_2.34", "no_such_function"))));
        assert!(matches!(problems(&report)[..], [Problem::SymbolMissing { lazy: false, .. }]), "{report:?}");
        assert_eq!(report.verdict, Verdict::Incompatible);
    }

    #[test]
    fn a_symbol_that_is_only_called_lets_the_program_start() {
        let report = report(&program(|object| object.unversioned.lazy.push("no_such_function".to_owned())));
        assert_eq!(report.findings[0].impact, Impact::Misbehaves);
        assert_eq!(report.verdict, Verdict::Incompatible);
    }

    #[test]
    fn another_machine_a_newer_cpu_and_a_newer_kernel_are_incompatible() {
        let other = report(&program(|object| object.machine = "s390".to_owned()));
        assert!(
            matches!(problems(&other)[..], [Problem::WrongMachine { machine, .. }] if machine == "s390x"),
            "{other:?}"
        );
        let unknown = report(&program(|object| object.machine = "toaster".to_owned()));
        assert!(matches!(problems(&unknown)[..], [Problem::WrongMachine { .. }]), "{unknown:?}");
        let kernel = report(&program(|object| object.kernel = Some("999.0.0".to_owned())));
        assert!(matches!(problems(&kernel)[..], [Problem::KernelTooOld { .. }]), "{kernel:?}");
        let options = Options { kernel: Some(KernelVersion(999, 0, 0)), ..Options::default() };
        let assumed =
            check(&program(|object| object.kernel = Some("999.0.0".to_owned())), &made_host(&options));
        assert_eq!(assumed.verdict, Verdict::Compatible);
    }

    #[test]
    fn a_cpu_level_is_compared_with_the_one_that_is_assumed() {
        let specification = program(|object| object.isa = Some(0b100));
        for (level, verdict) in [("x86-64-v2", Verdict::Incompatible), ("x86-64-v3", Verdict::Compatible)] {
            let options = Options { isa: IsaLevel::from_name(level), ..Options::default() };
            assert_eq!(check(&specification, &made_host(&options)).verdict, verdict, "{level}");
        }
    }

    #[test]
    fn a_document_of_compat_lib_is_checked_by_its_names() {
        let document = |library: &str| {
            let text = format!(
                r#"{{"version": "0.0.1", "attributes": {{"llnl.compatlib.executable-name": "xz",
                "llnl.compatlib.library-name.0": "linux-vdso.so.1",
                "llnl.compatlib.library-name.1": "{library}"}}}}"#
            );
            crate::spec::parse(text.as_bytes()).unwrap()
        };
        let found = report(&document("libc.so.6"));
        assert_eq!((found.verdict, found.exactness), (Verdict::Compatible, Exactness::Names));
        assert!(matches!(found.findings[0].matter, Matter::Remark(Remark::NamesOnly { names: 1 })));
        let missing = report(&document("libnowhere.so.7"));
        assert_eq!(missing.verdict, Verdict::Incompatible);
        assert!(matches!(problems(&missing)[0], Problem::LibraryMissing { .. }));
    }

    #[test]
    fn a_document_that_says_nothing_is_undecided() {
        let report = report(&Specification::new());
        assert_eq!(report.verdict, Verdict::Undecided);
        assert!(matches!(report.findings[0].matter, Matter::Remark(Remark::NothingToCheck {})));
    }

    #[test]
    fn a_report_round_trips_through_its_json() {
        let report = report(&program(|object| object.wants.push(wants("GLIBC_2.999", "printf"))));
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        let schema = crate::spec::schema::of::<Report>(REPORT_IDENTIFIER);
        let document = serde_json::to_value(&report).unwrap();
        assert!(jsonschema::is_valid(&schema, &document));
    }
}
