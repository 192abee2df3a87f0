//! The repository's password, as restic would get it.
//!
//! Invariant: it is in no log and on no command line.

use std::process::Command;
use std::time::Duration;

use crate::restic::Restic;
use crate::restic::run_with_timeout;
use crate::stop::Stop;

/// More than any password.
const BYTES_MAX: usize = 4 << 10;
/// A password may come from another machine, or from hardware that somebody has to touch.
const COMMAND_ENDS_WITHIN: Duration = Duration::from_mins(5);

impl Restic {
    /// The password from the file or the command that was named, without space around it, as restic takes it.
    pub(crate) fn password(&self) -> Result<Vec<u8>, String> {
        let (from, text) = match (&self.options.password_file, &self.options.password_command) {
            (Some(file), _) => {
                let from = file.display().to_string();
                let text = std::fs::read(file).map_err(|error| format!("cannot read {from}: {error}"))?;
                let text = without_mark(text).map_err(|error| format!("{from}: {error}"))?;
                (from, text)
            }
            (None, Some(command)) => ("the password command".to_owned(), printed(command, &self.stop)?),
            (None, None) => return Err("say --password-file or --password-command".to_owned()),
        };
        let password = text.trim_ascii();
        if password.is_empty() || password.len() > BYTES_MAX {
            return Err(format!("{from} gave {} bytes; expected a password", password.len()));
        }
        Ok(password.to_owned())
    }
}

/// The text in UTF-8 without the byte order mark that editors put before it. restic decodes a password file so.
fn without_mark(text: Vec<u8>) -> Result<Vec<u8>, String> {
    let units = match text.as_slice() {
        [0xef, 0xbb, 0xbf, rest @ ..] => return Ok(rest.to_vec()),
        [0xff, 0xfe, rest @ ..] => in_pairs(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => in_pairs(rest, u16::from_be_bytes),
        _ => return Ok(text),
    };
    let decoded = units.and_then(|units| String::from_utf16(&units).ok());
    let decoded = decoded.ok_or("it begins as UTF-16, and the rest is not UTF-16; save it as UTF-8")?;
    Ok(decoded.into_bytes())
}

fn in_pairs(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<Vec<u16>> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|pair| unit(*pair)).collect())
}

/// What a command prints that is started as restic starts it: in words, without a shell.
fn printed(command: &str, stop: &Stop) -> Result<Vec<u8>, String> {
    let words = shlex::split(command).unwrap_or_default();
    let Some((program, arguments)) = words.split_first() else {
        return Err("the password command has no words, or quotes that do not end".to_owned());
    };
    let mut command = Command::new(program);
    command.args(arguments);
    let run = run_with_timeout(command, COMMAND_ENDS_WITHIN, stop);
    let run = run.map_err(|error| format!("the password command, {program}, gave no password: {error}"))?;
    if !run.status.success() {
        return Err(format!("the password command ended with {}", run.status));
    }
    Ok(run.stdout)
}

#[cfg(test)]
mod tests {
    use pawl_config::restic_options::ResticOptions;

    use super::*;

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_password() {
        let utf_16 = |mark: [u8; 2], unit: fn(u16) -> [u8; 2]| {
            let units = "geheimnis ä\n".encode_utf16().flat_map(unit);
            mark.into_iter().chain(units).collect::<Vec<u8>>()
        };
        for file in [
            "geheimnis ä\n".as_bytes().to_vec(),
            "\u{feff}geheimnis ä\r\n".as_bytes().to_vec(),
            utf_16([0xff, 0xfe], u16::to_le_bytes),
            utf_16([0xfe, 0xff], u16::to_be_bytes),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("password");
            pawl_tests::store::plant(&path, &file);
            let restic =
                Restic::from(ResticOptions { password_file: Some(path), ..ResticOptions::default() });
            assert_eq!(restic.password().unwrap(), "geheimnis ä".as_bytes(), "{file:?}");
        }
        assert!(without_mark(vec![0xff, 0xfe, 0x41]).is_err());
    }
}
