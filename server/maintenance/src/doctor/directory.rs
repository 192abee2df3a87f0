//! What can be said of a directory of repositories without serving it.
//!
//! Invariant: it is only looked at.

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pawl_config::Config;
use pawl_keeper::named;
use pawl_policy::FileType;
use pawl_store::local;

use super::Line;
use super::machine::is_open_to_others;
use super::store::Store;

/// So many are enough to see what is wrong.
const FAULTS_MAX: usize = 20;

/// Less than this part of the disk free is worth a word.
const FREE_PARTS_MIN: u64 = 20;

/// Looks at the directory.
pub(super) fn look(config: &Config) -> Result<(Vec<Line>, Store), Box<dyn std::error::Error>> {
    let data = &config.data;
    if !data.is_dir() {
        return Err(format!("{}: there is no such directory; `pawl serve` makes it", data.display()).into());
    }
    let mut lines = vec![of_space(data)?];
    lines.extend(of_owners(data)?);
    lines.extend(of_unusable(data)?);
    lines.push(Line::note(
        "a directory keeps no versions by itself",
        "whoever is root on this machine can destroy it. Keep a second store elsewhere, from which `pawl maintain \
         restore --from` can repair this one",
    ));
    Ok((lines, Store::Directory))
}

fn of_space(data: &Path) -> Result<Line, Box<dyn std::error::Error>> {
    let space = local::space_of(data)?;
    let text = format!("hosts can store {} more", bytesize::ByteSize(space.room_bytes).display().iec());
    Ok(if space.lacks_inodes {
        Line::fault(
            "hosts can store nothing: the file system has no inodes left beside those for locks and maintenance",
            "backups are refused, what is stored stays. Remove files (`df -i` counts them), or move the data to a file \
             system with more inodes",
        )
    } else if space.room_bytes == 0 {
        Line::fault(text, "the disk is full: backups are refused, what is stored stays. Make room")
    } else if space.room_bytes < space.size_bytes / FREE_PARTS_MIN {
        Line::note(text, "which is less than a twentieth of the disk")
    } else {
        Line::good(text)
    })
}

/// Files of Pawl's own, and the bits of their modes that nobody but their owner (and group) should have.
const SECRET: [(&str, u32); 6] = [
    (".pawl/hosts.toml", 0o027),
    (".pawl/tls/ca.key", 0o077),
    (".pawl/tls/server.pem", 0o037),
    (".pawl/maintenance", 0o077),
    (".pawl/client-ca", 0o077),
    (".pawl/audit", 0o027),
];

fn of_owners(data: &Path) -> std::io::Result<Vec<Line>> {
    let mut lines = Vec::new();
    let owner = std::fs::metadata(data)?.uid();
    let mut ahead = vec![data.to_owned()];
    while let Some(place) = ahead.pop() {
        if lines.len() >= FAULTS_MAX {
            return Ok(lines);
        }
        match of_owner(&place, owner).and_then(|found| Ok((found, below(data, &place)?))) {
            Ok((found, below)) => {
                lines.extend(found);
                ahead.extend(below);
            }
            Err(error) => {
                let text = format!("{} cannot be looked at: {error}", place.display());
                lines.push(Line::fault(
                    text,
                    "look at it as the user that owns the data directory, or as root",
                ));
            }
        }
    }
    for (name, mask) in SECRET {
        let path = data.join(name);
        let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
        let mode = metadata.mode() & 0o777;
        if mode & mask != 0 {
            let text = format!("{} has the mode {mode:o}, which is too wide", path.display());
            lines.push(Line::fault(text, format!("chmod {:o} {}", mode & !mask, path.display())));
        }
    }
    if lines.is_empty() {
        let text =
            format!("{} and the repositories in it can be written to by their owner alone", data.display());
        lines.push(Line::good(text));
    }
    Ok(lines)
}

fn of_owner(place: &Path, owner: u32) -> std::io::Result<Vec<Line>> {
    let mut lines = Vec::new();
    if is_open_to_others(place)? {
        let text = format!("{} can be written to by others than its owner", place.display());
        let remedy = format!("they could delete backups: chmod go-w {}", place.display());
        lines.push(Line::fault(text, remedy));
    }
    let other = std::fs::metadata(place)?.uid();
    if other != owner {
        let text = format!("{} belongs to user {other}, and what it lies in to {owner}", place.display());
        lines.push(Line::fault(text, "that user could delete backups: give all of it to one"));
    }
    Ok(lines)
}

/// Directories with a repository's name that `pawl serve` cannot serve.
fn of_unusable(data: &Path) -> Result<Vec<Line>, Box<dyn std::error::Error>> {
    let directory = std::fs::File::open(data)?;
    let found = named::named_directories(directory.as_fd())?.into_iter();
    let told = found.filter_map(|found| {
        let fault = found.fault?;
        let text = format!("{} cannot be served", data.join(found.name.as_str()).display());
        Some(Line::fault(text, named::reason(fault)))
    });
    Ok(told.take(FAULTS_MAX).collect())
}

/// The directories in this one that repositories are made of; not those that spread `data` apart, which are many and made
/// like it.
fn below(data: &Path, place: &Path) -> std::io::Result<Vec<PathBuf>> {
    let is_spread = place != data && place.file_name().is_some_and(|name| name == FileType::Data.as_str());
    if is_spread || place.starts_with(data.join(".pawl")) {
        return Ok(Vec::new());
    }
    let mut below = Vec::new();
    for entry in std::fs::read_dir(place)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.file_name() != "lost+found" {
            below.push(entry.path());
        }
    }
    Ok(below)
}
