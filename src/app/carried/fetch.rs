//! Writes layers to files. Their titles are untrusted: they can only name recordings in the target directory, and
//! no existing file is replaced.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;

use super::{COMPRESSED, PLAIN};
use crate::app::Failure;
use compat_oci::manifest::TITLE;
use compat_oci::media_type;
use compat_oci::{Descriptor, Error, Store, limit};

/// The maximum length of a title as a file name (`NAME_MAX`), in bytes.
const LONGEST_NAME: usize = 255;

/// The file of a recording.
#[derive(Debug)]
pub struct Target {
    /// The path of the file.
    pub path: PathBuf,
    /// Whether the file already exists with the same bytes.
    is_there: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("{} already exists and differs from the recording of that name", .0.display())]
struct AnotherFile(PathBuf);

/// Returns the files for the recordings of an artifact in a directory, and creates the directory if it does not
/// exist. `specification` is the file for the specification, if any. No recording gets the same name.
///
/// # Errors
///
/// If a recording is too large, or a different file of its name exists.
pub fn targets(
    layers: &[Descriptor],
    directory: &Path,
    specification: Option<&Path>,
) -> Result<Vec<Target>, Failure> {
    fs::create_dir_all(directory).map_err(|error| Failure::from(&Error::io("create", directory)(error)))?;
    let of_specification = specification.and_then(|specification| name_in(specification, directory));
    let mut taken: HashSet<String> = of_specification.iter().cloned().collect();
    let own_names: HashSet<String> =
        layers.iter().enumerate().map(|(number, layer)| own_name(number, layer)).collect();
    if let Some(specification) = specification
        && of_specification.is_some_and(|name| own_names.contains(&name))
    {
        let message = format!(
            "{} has the name of a recording that is written to the same directory",
            specification.display()
        );
        return Err(Failure::usage(message).with_hint("choose another file name with --output".to_owned()));
    }
    let mut targets = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        if layer.size > limit::RECORDING {
            let what = format!("recording {}", layer.digest);
            return Err(Failure::from(&Error::TooLarge { what, limit: limit::RECORDING }));
        }
        let title =
            layer.annotations.get(TITLE).filter(|title| is_name(title) && !own_names.contains(*title));
        let name = title.filter(|title| taken.insert((*title).clone())).cloned();
        let path = directory.join(name.unwrap_or_else(|| own_name(number, layer)));
        let is_there = is_there(&path, layer)?;
        targets.push(Target { path, is_there });
    }
    Ok(targets)
}

/// Returns the name of a file if it is in a directory.
fn name_in(file: &Path, directory: &Path) -> Option<String> {
    let above = file.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_there = above.canonicalize().ok()? == directory.canonicalize().ok()?;
    is_there.then(|| file.file_name().map(|name| name.to_string_lossy().into_owned()))?
}

/// Returns the name of a recording with an unusable title.
fn own_name(number: usize, layer: &Descriptor) -> String {
    let ending = if layer.media_type == media_type::RECORDING { PLAIN } else { COMPRESSED };
    format!("recording-{}{ending}", number + 1)
}

/// Returns whether a title, which is untrusted, is a plain name of a recording in the target directory.
fn is_name(title: &str) -> bool {
    let is_plain = |character: char| !character.is_control() && character != '/';
    let is_file_name = !title.starts_with('.') && title.len() <= LONGEST_NAME && title.chars().all(is_plain);
    is_file_name && (title.ends_with(PLAIN) || title.ends_with(COMPRESSED))
}

/// Returns whether a recording already exists.
fn is_there(path: &Path, layer: &Descriptor) -> Result<bool, Failure> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Ok(_) if is_same(path, layer).unwrap_or(false) => Ok(true),
        _ => Err(Failure::undecided(&AnotherFile(path.to_owned()))
            .with_hint("name another directory, or remove the file".to_owned())),
    }
}

fn is_same(path: &Path, layer: &Descriptor) -> io::Result<bool> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() || metadata.len() != layer.size {
        return Ok(false);
    }
    let mut file = File::open(path)?;
    let (mut hasher, mut block) = (layer.digest.hasher(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hasher.finish() == layer.digest),
            count => hasher.update(&block[..count]),
        }
    }
}

/// Fetches the missing recordings of an artifact. Each file appears when it is complete.
///
/// # Errors
///
/// If one cannot be fetched or written.
pub async fn fetch(store: &Store, layers: &[Descriptor], targets: &[Target]) -> Result<(), Error> {
    for (layer, target) in layers.iter().zip(targets).filter(|(_, target)| !target.is_there) {
        fetch_one(store, layer, &target.path).await?;
    }
    Ok(())
}

async fn fetch_one(store: &Store, layer: &Descriptor, path: &Path) -> Result<(), Error> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = compat_sys::Temporary::new(directory).map_err(Error::io("write", path))?;
    let mut stream = store.open_blob(layer).await?;
    while let Some(piece) = stream.next().await {
        file.write_all(&piece?).map_err(Error::io("write", path))?;
    }
    file.persist_new(path).map_err(Error::io("write", path))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(title: &str, content: &[u8]) -> Descriptor {
        let mut layer = Descriptor::of(media_type::RECORDING_COMPRESSED, content);
        layer.annotations.insert(TITLE.into(), title.into());
        layer
    }

    #[test]
    fn a_title_leads_to_no_other_directory_and_no_other_kind_of_file() {
        for title in [
            "",
            ".",
            "..",
            "../a.jsonl",
            "a/b.jsonl",
            "/etc/passwd",
            ".jsonl",
            ".bashrc.jsonl",
            "a\n.jsonl",
            "a\0.jsonl",
            &format!("{}.jsonl", "a".repeat(250)),
            "Makefile",
            "compat.json",
            "run.zst",
        ] {
            assert!(!is_name(title), "{title:?}");
        }
        assert!(is_name("run 1.jsonl.zst") && is_name("run.jsonl"));
    }

    #[test]
    fn what_is_there_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let targets = |layers: &[Descriptor], specification: &str| {
            targets(layers, directory.path(), Some(&directory.path().join(specification)))
        };
        let names = |targets: &[Target]| -> Vec<(String, bool)> {
            let name = |target: &Target| target.path.file_name().unwrap().to_string_lossy().into_owned();
            targets.iter().map(|target| (name(target), target.is_there)).collect()
        };
        let named = |name: &str, is_there| (name.to_owned(), is_there);
        let layers = [
            layer("Makefile", b"1"),
            layer("a.jsonl.zst", b"2"),
            layer("a.jsonl.zst", b"3"),
            layer("recording-1.jsonl.zst", b"4"),
        ];
        let own = |number: usize| format!("recording-{number}.jsonl.zst");
        let found = targets(&layers, "compat.json").unwrap();
        let expected = [
            named(&own(1), false),
            named("a.jsonl.zst", false),
            named(&own(3), false),
            named(&own(4), false),
        ];
        assert_eq!(names(&found), expected);
        // The specification is written to the same directory.
        let found = targets(&layers[1..2], "a.jsonl.zst").unwrap();
        assert_eq!(names(&found), [named(&own(1), false)]);
        assert!(targets(&layers[1..2], &own(1)).is_err());
        let file = directory.path().join("a.jsonl.zst");
        fs::write(&file, "2").unwrap();
        assert_eq!(names(&targets(&layers[1..2], "compat.json").unwrap()), [named("a.jsonl.zst", true)]);
        for other in ["3", "33"] {
            fs::write(&file, other).unwrap();
            let refused = targets(&layers[1..2], "compat.json").unwrap_err();
            let message = refused.message.replace(&directory.path().display().to_string(), "");
            let expected = "/a.jsonl.zst already exists and differs from the recording of that name";
            assert_eq!(message, expected);
            assert!(refused.hint.is_some());
        }
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/nowhere", &file).unwrap();
        assert!(targets(&layers[1..2], "compat.json").is_err(), "the target of a link is not created");
    }
}
