//! Recordings that travel with an artifact: compressed on the way there, files again on the way back.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::StreamExt as _;

use super::registry_options::failure;
use super::{Failure, recording};
use crate::registry::artifact::Recording;
use crate::registry::manifest::TITLE;
use crate::registry::{Descriptor, Error, Store, limit};
use crate::trace::{ReadError, Reader};

/// The level of zstd: a recording is some hundred bytes a line, much alike.
const COMPRESSION_LEVEL: i32 = 9;

/// What a file that is compressed with zstd begins with (RFC 8878, section 3.1.1).
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The longest name of a file (`NAME_MAX`) that a title may have.
const LONGEST_NAME: usize = 255;

/// Reads recordings as layers.
///
/// # Errors
///
/// Where one cannot be read, is no recording or larger than a layer may be, or two have the same name.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Recording>, Failure> {
    let mut titles = HashSet::new();
    let mut recordings = Vec::new();
    for path in paths {
        let recording = read_one(path)?;
        if !titles.insert(recording.title.clone()) {
            let message = format!("{} has the name of another recording of this artifact", path.display());
            return Err(Failure::usage(message).with_hint("rename one of the files".to_owned()));
        }
        recordings.push(recording);
    }
    Ok(recordings)
}

fn read_one(path: &Path) -> Result<Recording, Failure> {
    let name = path.display().to_string();
    let failed = |source| recording::failure(&ReadError::Read { file: name.clone(), source });
    let open = || File::open(path).map_err(failed);
    let mut reader =
        Reader::new(name.as_str(), BufReader::new(open()?)).map_err(|e| recording::failure(&e))?;
    for event in reader.by_ref() {
        event.map_err(|error| recording::failure(&error))?;
    }
    let mut file = open()?;
    let mut start = Vec::new();
    io::Read::by_ref(&mut file).take(MAGIC.len() as u64).read_to_end(&mut start).map_err(failed)?;
    let is_compressed = start == MAGIC;
    let whole = io::Cursor::new(start).chain(file);
    let content = match is_compressed {
        true => read_bounded(whole),
        false => zstd::stream::read::Encoder::new(whole, COMPRESSION_LEVEL).and_then(read_bounded),
    };
    let content = content.map_err(failed)?;
    if content.len() as u64 > limit::RECORDING {
        return Err(failure(&Error::TooLarge { what: name, limit: limit::RECORDING }));
    }
    Ok(Recording { title: title(path, is_compressed), content })
}

fn read_bounded(reader: impl io::Read) -> io::Result<Bytes> {
    let mut content = Vec::new();
    reader.take(limit::RECORDING + 1).read_to_end(&mut content)?;
    Ok(content.into())
}

fn title(path: &Path, is_compressed: bool) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ending = if is_compressed || name.ends_with(".zst") { "" } else { ".zst" };
    format!("{name}{ending}")
}

/// Fetches the recordings of an artifact into a folder, which is made where it is not there; each file
/// appears when it is whole. Returns their paths.
///
/// # Errors
///
/// Where one cannot be fetched or written.
pub async fn fetch(store: &Store, layers: &[Descriptor], folder: &Path) -> Result<Vec<PathBuf>, Error> {
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let own = |number: usize| format!("recording-{}.jsonl.zst", number + 1);
    let mut taken: HashSet<String> = (0..layers.len()).map(own).collect();
    let mut written = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        if layer.size > limit::RECORDING {
            return Err(Error::TooLarge {
                what: format!("recording {}", layer.digest),
                limit: limit::RECORDING,
            });
        }
        let title = layer.annotations.get(TITLE).filter(|title| is_file_name(title)).cloned();
        let name = title.filter(|title| taken.insert(title.clone())).unwrap_or_else(|| own(number));
        let path = folder.join(name);
        fetch_one(store, layer, folder, &path).await?;
        written.push(path);
    }
    Ok(written)
}

async fn fetch_one(store: &Store, layer: &Descriptor, folder: &Path, path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".compat-").permissions(std::fs::Permissions::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(Error::io("write", path))?;
    let mut stream = store.open_blob(layer).await?;
    while let Some(piece) = stream.next().await {
        file.write_all(&piece?).map_err(Error::io("write", path))?;
    }
    file.persist(path).map_err(|error| Error::io("write", path)(error.error))?;
    Ok(())
}

/// Whether a title, which strangers may have written, is the name of a file in the folder that is meant, and
/// nothing else.
fn is_file_name(title: &str) -> bool {
    let is_plain = |character: char| !character.is_control() && character != '/';
    !title.is_empty() && !title.starts_with('.') && title.len() <= LONGEST_NAME && title.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "{\"compat_recording\":1,\"command\":[\"a\"],\"folder\":\"/\",\"host\":\"h\",\"kernel\":\"6\",\"started\":1}\n";

    #[test]
    fn a_recording_is_compressed_and_a_compressed_one_taken_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let plain = read(&[file("run.jsonl", RUN.as_bytes())]).unwrap().remove(0);
        assert_eq!(plain.title, "run.jsonl.zst");
        assert_eq!(zstd::decode_all(&plain.content[..]).unwrap(), RUN.as_bytes());
        let compressed = zstd::encode_all(RUN.as_bytes(), 19).unwrap();
        let packed = read(&[file("old.zst", &compressed)]).unwrap().remove(0);
        assert_eq!((packed.title.as_str(), &packed.content[..]), ("old.zst", &compressed[..]));
    }

    #[test]
    fn what_is_no_recording_or_has_the_name_of_another_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        let refused = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let message = read(std::slice::from_ref(&path)).unwrap_err().message;
            message.replace(&folder.path().display().to_string(), "")
        };
        insta::assert_snapshot!(refused("{\"version\":\"1.0.0\"}"), @"/run.jsonl is not a recording: its first line is no header");
        insta::assert_snapshot!(refused("[\n"), @"/run.jsonl is not a recording: it is a trace for Perfetto's viewer, which is written from a recording");
        std::fs::write(&path, RUN).unwrap();
        let twice = read(&[path.clone(), path.clone()]).unwrap_err();
        assert!(twice.message.ends_with("/run.jsonl has the name of another recording of this artifact"));
        assert!(read(&[folder.path().join("none")]).is_err());
    }

    #[test]
    fn a_title_leads_to_no_other_folder() {
        for title in ["", ".", "..", "../a", "a/b", "/etc/passwd", ".bashrc", "a\nb", "a\0", &"a".repeat(256)]
        {
            assert!(!is_file_name(title), "{title:?}");
        }
        assert!(is_file_name("run 1.jsonl.zst"));
    }
}
