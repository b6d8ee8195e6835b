#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    io::{Cursor, Read, Write},
    os::unix::fs::PermissionsExt,
    time::Duration,
};

use ::zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};
use flate2::{Compression, write::GzEncoder};
use rustix::time::{ClockId, clock_gettime};

use super::*;

const LIMITS: Limits = Limits { bytes: 1 << 20, entries: 20 };

/// What this thread has worked so far: a second of work stays one on a machine
/// that is busy with other things.
fn work() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap()
}

enum Item {
    File(&'static str, Vec<u8>, u32),
    Link(&'static str, &'static str),
}

use Item::{File, Link};

fn zipped(items: &[Item]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for item in items {
        match item {
            File(name, content, mode) => {
                writer.start_file(*name, options.unix_permissions(*mode)).unwrap();
                writer.write_all(content).unwrap();
            }
            Link(name, target) => writer.add_symlink(*name, *target, options).unwrap(),
        }
    }
    writer.finish().unwrap().into_inner()
}

fn tarred(items: &[Item]) -> Vec<u8> {
    let mut builder = ::tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for item in items {
        let mut header = ::tar::Header::new_gnu();
        let name = match item {
            File(name, content, mode) => {
                header.set_size(content.len() as u64);
                header.set_mode(*mode);
                name
            }
            Link(name, target) => {
                header.set_entry_type(::tar::EntryType::Symlink);
                header.set_size(0);
                header.set_link_name(target).unwrap_or_else(|_| {
                    header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
                });
                name
            }
        };
        // Past the library's own check of paths.
        let field = &mut header.as_gnu_mut().unwrap().name;
        field[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        let content: &[u8] = match item {
            File(_, content, _) => content,
            Link(..) => &[],
        };
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

struct Place {
    _outer: tempfile::TempDir,
    folder: std::path::PathBuf,
}

fn empty() -> Place {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("action");
    fs::create_dir(&folder).unwrap();
    Place { folder, _outer: outer }
}

fn both(items: &[Item]) -> [Vec<u8>; 2] {
    [zipped(items), tarred(items)]
}

#[test]
fn files_folders_modes_and_inner_links_are_kept() {
    let items = [
        File("main.py", b"hello".to_vec(), 0o600),
        File("bin/run", b"#!/bin/sh".to_vec(), 0o755),
        Link("bin/again", "../main.py"),
    ];
    for code in both(&items) {
        check(&code, LIMITS).unwrap();
        let place_ = empty();
        place(&code, &place_.folder, LIMITS).unwrap();
        let mode = |name: &str| fs::metadata(place_.folder.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(fs::read(place_.folder.join("bin/again")).unwrap(), b"hello");
        assert_eq!((mode("main.py"), mode("bin/run"), mode("bin")), (0o644, 0o755, 0o755));
    }
}

#[test]
fn what_is_no_archive_becomes_an_executable() {
    let place_ = empty();
    place(b"#!/bin/sh\n", &place_.folder, LIMITS).unwrap();
    let exec = place_.folder.join("exec");
    assert_eq!(fs::read(&exec).unwrap(), b"#!/bin/sh\n");
    assert_eq!(fs::metadata(exec).unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn folders_that_names_imply_are_counted() {
    let item = |name| File(name, b"x".to_vec(), 0o644);
    let few = [item("a/b/c/d/e/f/g/h/i/j/1"), item("a/b/c/d/e/f/g/h/i/j/2"), item("k/l/m/n/o/p/q/r/s/t/3")];
    for code in both(&few) {
        place(&code, &empty().folder, LIMITS).unwrap();
    }
    for code in both(&[item("a/b/c/d/e/f/g/h/i/j/1"), item("k/l/m/n/o/p/q/r/s/t/u/v/w/x/y/z/2")]) {
        assert!(matches!(check(&code, LIMITS), Err(Refused::TooMany(20))), "before anything is written");
        assert!(matches!(place(&code, &empty().folder, LIMITS), Err(Refused::TooMany(20))));
    }
}

/// The archive's fault, and not the host's.
#[test]
fn names_that_no_file_can_have_are_refused_as_such() {
    let item = |name| File(name, b"x".to_vec(), 0o644);
    for code in both(&[item("a"), item("a/b")]) {
        assert!(matches!(place(&code, &empty().folder, LIMITS), Err(Refused::Name(_))), "a file is no folder");
    }
    for code in both(&[item("a/b"), item("a")]) {
        assert!(matches!(place(&code, &empty().folder, LIMITS), Err(Refused::Name(_))), "a folder is no file");
    }
    let long: &str = Box::leak("n".repeat(300).into_boxed_str());
    let deep: &str = Box::leak("d/".repeat(200).into_boxed_str());
    for name in [long, deep] {
        let code = zipped(&[item(name)]);
        assert!(matches!(check(&code, LIMITS), Err(Refused::Name(_))));
    }
}

/// As deep as can be, and as many as can be: counted before they are made.
#[test]
fn implied_folders_are_refused_within_a_second() {
    let names: Vec<String> = (0..600).map(|n| format!("{n}/{}x", "d/".repeat(120))).collect();
    let items: Vec<Item> =
        names.into_iter().map(|name| File(Box::leak(name.into_boxed_str()), vec![], 0o644)).collect();
    let code = zipped(&items);
    let before = work();
    let place_ = empty();
    assert!(matches!(place(&code, &place_.folder, Limits::default()), Err(Refused::TooMany(65_535))));
    assert!(work() - before < Duration::from_secs(1));
    assert_eq!(fs::read_dir(&place_.folder).unwrap().count(), 0);
}

#[test]
fn a_tar_is_unpacked_as_it_comes() {
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut header = ::tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o755);
    builder.append_data(&mut header, "bin/exec", &b"ok"[..]).unwrap();
    let place_ = empty();
    place_tar(&builder.into_inner().unwrap()[..], &place_.folder, LIMITS).unwrap();
    assert_eq!(fs::read(place_.folder.join("bin/exec")).unwrap(), b"ok");
}

#[test]
fn a_jar_is_told_from_other_archives() {
    let jar = [File("META-INF/MANIFEST.MF", vec![], 0o644), File("Main.class", vec![], 0o644)];
    assert!(is_jar(&zipped(&jar), LIMITS));
    assert!(!is_jar(&tarred(&jar), LIMITS));
    assert!(!is_jar(&zipped(&[File("Main.class", vec![], 0o644)]), LIMITS));
    assert!(!is_jar(b"PK\x03\x04", LIMITS));
}

#[test]
fn paths_that_leave_the_folder_are_refused() {
    for name in ["../evil", "a/../../evil", "/tmp/whisker-evil", "a/./../../evil", ".."] {
        for code in both(&[File(name, b"x".to_vec(), 0o644)]) {
            let place_ = empty();
            assert!(matches!(check(&code, LIMITS), Err(Refused::Path(_))), "{name}");
            assert!(matches!(place(&code, &place_.folder, LIMITS), Err(Refused::Path(_))), "{name}");
            let outside: Vec<_> = fs::read_dir(place_._outer.path()).unwrap().collect();
            assert_eq!(outside.len(), 1, "{name} wrote outside");
            assert!(!Path::new("/tmp/whisker-evil").exists());
        }
    }
}

#[test]
fn links_that_leave_the_folder_are_refused() {
    let cases: &[&[Item]] = &[
        &[Link("a", "/etc/passwd")],
        &[Link("a", "../outside")],
        &[Link("d/a", "../../outside")],
        // Upwards from where another link leads to.
        &[File("d/e/f", vec![], 0o644), Link("d/e/l", "../.."), Link("a", "d/e/l/../x")],
        &[File("d/e/f", vec![], 0o644), Link("d/e/l", "../.."), Link("d/e/l/y", "../../w")],
    ];
    for items in cases {
        for code in both(items) {
            let place_ = empty();
            let refused = place(&code, &place_.folder, LIMITS);
            assert!(matches!(refused, Err(Refused::Link(_) | Refused::Name(_))), "{refused:?}");
        }
    }
}

#[test]
fn nothing_is_written_through_a_link() {
    for code in both(&[Link("a", "b"), File("a/evil", b"x".to_vec(), 0o644), File("b/good", vec![], 0o644)]) {
        let place_ = empty();
        assert!(place(&code, &place_.folder, LIMITS).is_err());
        assert!(!place_.folder.join("b/evil").exists());
    }
}

#[test]
fn hard_links_and_devices_are_refused() {
    for kind in [::tar::EntryType::Link, ::tar::EntryType::Char, ::tar::EntryType::Fifo] {
        let mut builder = ::tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = ::tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_path("x").unwrap();
        header.set_link_name("/etc/passwd").unwrap();
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, &[][..]).unwrap();
        let code = builder.into_inner().unwrap().finish().unwrap();
        assert!(matches!(check(&code, LIMITS), Err(Refused::Kind(_))));
    }
}

#[test]
fn long_names_of_tar_are_understood() {
    let mut builder = ::tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let name = format!("{}/file", "folder".repeat(30));
    let mut header = ::tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o644);
    builder.append_data(&mut header, &name, &b"ok"[..]).unwrap();
    let code = builder.into_inner().unwrap().finish().unwrap();
    let place_ = empty();
    place(&code, &place_.folder, LIMITS).unwrap();
    assert_eq!(fs::read(place_.folder.join(name)).unwrap(), b"ok");
}

#[test]
fn too_much_is_refused_before_it_is_written() {
    let many: Vec<Item> = (0..30).map(|n| File(Box::leak(format!("f{n}").into_boxed_str()), vec![], 0o644)).collect();
    let large = [File("zeros", vec![0; 2 << 20], 0o644)];
    for code in both(&many) {
        assert!(matches!(check(&code, LIMITS), Err(Refused::TooMany(20))));
    }
    for code in both(&large) {
        assert!(matches!(check(&code, LIMITS), Err(Refused::TooLarge(_))));
        let place_ = empty();
        assert!(matches!(place(&code, &place_.folder, LIMITS), Err(Refused::TooLarge(_))));
    }
}

/// A header that claims less than there is does not get more.
#[test]
fn a_zip_that_lies_about_sizes_is_refused() {
    let mut code = zipped(&[File("zeros", vec![0; 500_000], 0o644)]);
    let size = 500_000u32.to_le_bytes();
    let lie = 10u32.to_le_bytes();
    let mut changed = 0;
    for at in 0..code.len() - 4 {
        if code[at..at + 4] == size {
            code[at..at + 4].copy_from_slice(&lie);
            changed += 1;
        }
    }
    assert!(changed > 0);
    let place_ = empty();
    let refused = place(&code, &place_.folder, LIMITS);
    assert!(matches!(refused, Err(Refused::Damaged(_))), "{refused:?}");
    let written: u64 =
        fs::read_dir(&place_.folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(written <= 64 * 1024, "{written}");
}

/// A stream that says it is a tar with one file of `claimed` bytes, and then
/// has ten gigabytes of zeros.
fn bomb(claimed: u64) -> Vec<u8> {
    let zeros = {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        io::copy(&mut io::repeat(0).take(100 << 20), &mut encoder).unwrap();
        encoder.finish().unwrap()
    };
    let mut header = ::tar::Header::new_gnu();
    header.set_path("zeros").unwrap();
    header.set_size(claimed);
    header.set_cksum();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(header.as_bytes()).unwrap();
    let mut code = encoder.finish().unwrap();
    (0..100).for_each(|_| code.extend_from_slice(&zeros));
    code
}

#[test]
fn a_bomb_of_ten_gigabytes_is_refused_within_a_second() {
    let honest = bomb(10 << 30);
    let before = work();
    assert!(matches!(check(&honest, Limits::default()), Err(Refused::TooLarge(_))));
    assert!(work() - before < Duration::from_secs(1));

    // One that claims little is read as far as it claims, and no further.
    let small = bomb(1 << 20);
    let before = work();
    let place_ = empty();
    place(&small, &place_.folder, Limits::default()).unwrap();
    assert_eq!(fs::metadata(place_.folder.join("zeros")).unwrap().len(), 1 << 20);
    assert!(work() - before < Duration::from_secs(1));
}

#[test]
fn damaged_archives_say_so() {
    for code in [&b"PK\x03\x04rubbish"[..], &b"\x1f\x8brubbish"[..]] {
        assert!(matches!(check(code, LIMITS), Err(Refused::Damaged(_))));
    }
    let whole = zipped(&[File("a", vec![1; 1000], 0o644)]);
    assert!(check(&whole[..whole.len() / 2], LIMITS).is_err());
}
