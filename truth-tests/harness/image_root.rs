//! The root of an image as its engine exports it: its ELF objects and its links, read without compat's own
//! code.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use super::docker::Docker;
use super::{Sets, Workspace};

/// The root of an image.
#[derive(Debug, Default)]
pub struct ImageRoot {
    /// The ELF programs and libraries for this machine, by their paths without links, with their permission
    /// bits.
    pub objects: BTreeMap<String, u32>,
    links: BTreeMap<String, String>,
}

impl ImageRoot {
    /// Exports an image.
    pub fn of(workspace: &Workspace, docker: &Docker, image: &str) -> Self {
        let container = docker.run(&["create", "--network=none", image]);
        let archive = workspace.text("exported.tar");
        docker.run(&["export", "-o", &archive, container.trim()]);
        docker.run(&["rm", container.trim()]);
        let root = Self::read(File::open(&archive).expect("the exported root"));
        fs::remove_file(archive).expect("the exported root");
        root
    }

    fn read(archive: File) -> Self {
        let mut root = Self::default();
        for entry in tar::Archive::new(archive).entries().expect("an archive") {
            let mut entry = entry.expect("an entry");
            let path = format!("/{}", entry.path().expect("a path").to_string_lossy());
            let mode = entry.header().mode().expect("a mode");
            match entry.header().entry_type() {
                tar::EntryType::Symlink => {
                    let target = entry.link_name().expect("a target").expect("a target");
                    root.links.insert(path, target.to_string_lossy().into_owned());
                }
                tar::EntryType::Regular if is_object(&mut entry) => {
                    root.objects.insert(path, mode);
                }
                _ => {}
            }
        }
        root
    }

    /// Returns a path without links.
    pub fn real(&self, path: &str) -> String {
        let mut walked: Vec<String> = Vec::new();
        let mut ahead: Vec<String> = path.rsplit('/').map(str::to_owned).collect();
        while let Some(name) = ahead.pop() {
            match name.as_str() {
                "" | "." => {}
                ".." => drop(walked.pop()),
                _ => {
                    walked.push(name);
                    if let Some(target) = self.links.get(&format!("/{}", walked.join("/"))) {
                        walked.pop();
                        if target.starts_with('/') {
                            walked.clear();
                        }
                        ahead.extend(target.rsplit('/').map(str::to_owned));
                    }
                }
            }
        }
        format!("/{}", walked.join("/"))
    }

    /// Returns sets with absolute paths without links. The loader prints the paths that it took, relative to
    /// the working directory.
    pub fn real_sets(&self, sets: &Sets, directory: &str) -> Sets {
        let real = |path: &String| match path.find('/') {
            Some(0) => self.real(path),
            Some(_) => self.real(&format!("{directory}/{path}")),
            None => path.clone(),
        };
        let found = |path: &String| self.real(&Path::new(directory).join(path).to_string_lossy());
        let triples = |set: &std::collections::BTreeSet<(String, String, String)>| {
            set.iter().map(|(a, b, c)| (a.clone(), real(b), real(c))).collect()
        };
        Sets {
            resolved: sets.resolved.iter().map(|(name, path)| (real(name), found(path))).collect(),
            missing_libraries: sets.missing_libraries.clone(),
            missing_versions: triples(&sets.missing_versions),
            unversioned: sets.unversioned.iter().map(|(path, by)| (real(path), real(by))).collect(),
            missing_symbols: triples(&sets.missing_symbols),
        }
    }
}

/// Returns whether a file is an executable or shared ELF object for x86-64.
fn is_object(entry: &mut impl Read) -> bool {
    let mut head = [0; 20];
    if entry.read_exact(&mut head).is_err() || head[..4] != *b"\x7fELF" {
        return false;
    }
    let (kind, machine) = (head[16], head[18]);
    matches!(kind, 2 | 3) && machine == 62
}
