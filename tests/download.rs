//! The download: a server that misbehaves, archives that attack.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};
use shadegrad::Error;
use shadegrad::data::{Archive, Member, Progress, download};
use shadegrad::units::hexadecimal;
use tempfile::{TempDir, tempdir};

const FOLDER: &str = "set";

fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// Bytes that gzip cannot shrink, so that a cut falls inside them.
fn noise(length: usize) -> Vec<u8> {
    let mut random = shadegrad::random::Random::new(1, shadegrad::random::Purpose::Test, 0);
    (0..length).map(|_| random.bits() as u8).collect()
}

/// A `.tar.gz`; paths go into the headers as they are, so that they can be ones the tar crate would refuse.
struct Tarball(tar::Builder<flate2::write::GzEncoder<Vec<u8>>>);

impl Tarball {
    fn new() -> Self {
        Self(tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast())))
    }

    fn entry(mut self, path: &str, kind: tar::EntryType, target: &str, bytes: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        self.0.append(&header, bytes).unwrap();
        self
    }

    fn file(self, path: &str, bytes: &[u8]) -> Self {
        self.entry(path, tar::EntryType::Regular, "", bytes)
    }

    fn link(self, kind: tar::EntryType, path: &str, target: &str) -> Self {
        self.entry(path, kind, target, b"")
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap().finish().unwrap()
    }
}

/// Two members, `batch.bin` of 200,000 bytes and `names.txt` of at most 16, and a file nobody asked for.
fn good_tarball() -> Vec<u8> {
    Tarball::new()
        .file("set/names.txt", b"one\ntwo\n")
        .file("set/readme.html", b"<p>hello</p>")
        .file("set/batch.bin", &noise(200_000))
        .bytes()
}

fn archive_of(tarball: &[u8], url: String) -> Archive {
    let member = |name: &str, bytes| Member { name: name.into(), bytes };
    Archive {
        url,
        bytes: tarball.len() as u64,
        sha256: sha256(tarball),
        folder: FOLDER.into(),
        members: vec![member("batch.bin", 200_000..=200_000), member("names.txt", 1..=16)],
    }
}

/// What the server does with one request.
#[derive(Clone, Copy)]
enum Answer {
    Whole,
    /// Honours the Range that the request must carry.
    Rest,
    /// The whole archive's header, but only this many bytes of it.
    Cut(usize),
    /// No length, and this many bytes more than the archive has.
    TooMany(usize),
    Status(&'static str),
}

/// Answers one request for each entry of `answers`, then stops. Returns the URL and each request's `Range`.
fn serve(body: Vec<u8>, answers: Vec<Answer>) -> (String, Receiver<Option<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/files/set.tar.gz", listener.local_addr().unwrap());
    let (sender, ranges) = channel();
    thread::spawn(move || {
        for answer in answers {
            let Ok((stream, _)) = listener.accept() else { return };
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let range = read_range(&stream);
            sender.send(range.clone()).ok();
            // The client may hang up early, which is part of some tests.
            respond(stream, &body, answer, range).ok();
        }
    });
    (url, ranges)
}

fn read_range(stream: &TcpStream) -> Option<String> {
    let lines = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let headers: Vec<String> = lines.collect();
    headers.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("range").then(|| value.trim().to_string())
    })
}

fn respond(mut stream: TcpStream, body: &[u8], answer: Answer, range: Option<String>) -> std::io::Result<()> {
    let total = body.len();
    match answer {
        Answer::Whole | Answer::Cut(_) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {total}\r\nConnection: close\r\n\r\n")?;
            let end = if let Answer::Cut(end) = answer { end } else { total };
            stream.write_all(&body[..end])
        }
        Answer::Rest => {
            let range = range.unwrap_or_default();
            let first: usize = range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap_or(0);
            write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{}/{total}\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n",
                total - 1,
                total - first
            )?;
            stream.write_all(&body[first..])
        }
        Answer::TooMany(extra) => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            stream.write_all(body)?;
            stream.write_all(&vec![0; extra])
        }
        Answer::Status(status) => {
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        }
    }
}

/// Serves `tarball` and downloads it into a fresh folder.
fn download_from(tarball: Vec<u8>, answers: Vec<Answer>) -> (TempDir, Result<(), Error>, Vec<Option<String>>) {
    let dir = tempdir().unwrap();
    let (url, ranges) = serve(tarball.clone(), answers);
    let result = download(&archive_of(&tarball, url), dir.path(), &mut |_| {});
    (dir, result.map(|_| ()), ranges.try_iter().collect())
}

/// Every path under `folder`, sorted.
fn tree(folder: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            paths.extend(tree(&entry.path()).into_iter().map(|inner| format!("{name}/{inner}")));
        } else {
            paths.push(name);
        }
    }
    paths.sort();
    paths
}

fn assert_unpacked(dir: &Path) {
    assert_eq!(tree(dir), ["set/batch.bin", "set/names.txt"]);
    assert!(fs::read(dir.join("set/batch.bin")).unwrap() == noise(200_000));
    assert_eq!(fs::read(dir.join("set/names.txt")).unwrap(), b"one\ntwo\n");
}

#[test]
fn a_download_is_checked_unpacked_and_not_repeated() {
    let dir = tempdir().unwrap();
    let tarball = good_tarball();
    let (url, ranges) = serve(tarball.clone(), vec![Answer::Whole]);
    let archive = archive_of(&tarball, url);
    let mut seen = Vec::new();
    let folder = download(&archive, dir.path(), &mut |progress| seen.push(progress)).unwrap();
    assert_eq!(folder, dir.path().join("set"));
    assert_unpacked(dir.path());
    assert_eq!(ranges.recv().unwrap(), None);
    assert_eq!(seen.first(), Some(&Progress::Downloading { done: 0, total: archive.bytes }));
    assert!(seen.contains(&Progress::Downloading { done: archive.bytes, total: archive.bytes }));
    assert!(seen.contains(&Progress::Verifying));
    assert_eq!(seen.last(), Some(&Progress::Extracting { done: 2, total: 2 }));

    // The server is gone: a second call must not need it.
    let mut silent = true;
    download(&archive, dir.path(), &mut |_| silent = false).unwrap();
    assert!(silent);
}

#[test]
fn a_cut_connection_is_resumed_where_it_stopped() {
    let (dir, result, ranges) = download_from(good_tarball(), vec![Answer::Cut(70_000), Answer::Rest]);
    result.unwrap();
    assert_unpacked(dir.path());
    assert_eq!(ranges, [None, Some("bytes=70000-".to_string())]);
}

#[test]
fn the_next_call_resumes_what_an_earlier_one_left() {
    let tarball = good_tarball();
    let dir = tempdir().unwrap();
    let (url, _) = serve(tarball.clone(), vec![Answer::Cut(70_000), Answer::Status("503 Service Unavailable")]);
    let error = download(&archive_of(&tarball, url), dir.path(), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
    assert!(error.hint().unwrap().contains("--data shapes"));
    assert_eq!(tree(dir.path()), ["set.tar.gz.part"]);

    let (url, ranges) = serve(tarball.clone(), vec![Answer::Rest]);
    download(&archive_of(&tarball, url), dir.path(), &mut |_| {}).unwrap();
    assert_unpacked(dir.path());
    assert_eq!(ranges.recv().unwrap().as_deref(), Some("bytes=70000-"));
}

#[test]
fn a_server_without_ranges_starts_over() {
    for refusal in [vec![Answer::Whole], vec![Answer::Status("416 Range Not Satisfiable"), Answer::Whole]] {
        let answers = [vec![Answer::Cut(70_000)], refusal].concat();
        let (dir, result, _) = download_from(good_tarball(), answers);
        result.unwrap();
        assert_unpacked(dir.path());
    }
}

#[test]
fn a_part_that_is_too_long_starts_over() {
    let tarball = good_tarball();
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("set.tar.gz.part"), vec![7; tarball.len() + 1]).unwrap();
    let (url, ranges) = serve(tarball.clone(), vec![Answer::Whole]);
    download(&archive_of(&tarball, url), dir.path(), &mut |_| {}).unwrap();
    assert_unpacked(dir.path());
    assert_eq!(ranges.recv().unwrap(), None);
}

#[test]
fn a_server_that_sends_too_much_is_cut_off() {
    let length = good_tarball().len();
    let (dir, result, _) = download_from(good_tarball(), vec![Answer::TooMany(50_000_000)]);
    let message = result.unwrap_err().to_string();
    assert!(message.starts_with("set.tar.gz has "), "{message}");
    assert!(message.ends_with(&format!(" bytes, expected {length}")), "{message}");
    assert!(tree(dir.path()).is_empty());
}

#[test]
fn a_wrong_checksum_removes_the_file() {
    let tarball = good_tarball();
    let dir = tempdir().unwrap();
    let mut sent = tarball.clone();
    *sent.last_mut().unwrap() ^= 1;
    let (url, _) = serve(sent.clone(), vec![Answer::Whole]);
    let error = download(&archive_of(&tarball, url), dir.path(), &mut |_| {}).unwrap_err();
    assert_eq!(error.to_string(), format!("set.tar.gz has SHA-256 {}, expected {}", sha256(&sent), sha256(&tarball)));
    assert_eq!(error.exit_code(), 3);
    assert!(tree(dir.path()).is_empty());
}

#[test]
fn an_archive_put_there_by_hand_is_used_and_kept() {
    let tarball = good_tarball();
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("set.tar.gz"), &tarball).unwrap();
    let archive = archive_of(&tarball, "http://127.0.0.1:9/set.tar.gz".into());
    download(&archive, dir.path(), &mut |_| {}).unwrap();
    assert_eq!(tree(dir.path()), ["set.tar.gz", "set/batch.bin", "set/names.txt"]);
}

#[test]
fn only_the_named_members_are_unpacked() {
    let outer = tempdir().unwrap();
    let dir = outer.path().join("inner");
    let absolute = outer.path().join("absolute");
    let tarball = Tarball::new()
        .file("../evil", b"evil")
        .file("set/../../evil", b"evil")
        .file(absolute.to_str().unwrap(), b"evil")
        .file("batch.bin", &[1; 200_000])
        .file("set/sub/batch.bin", &[2; 200_000])
        .link(tar::EntryType::Symlink, "set/batch.bin", "/etc/passwd")
        .link(tar::EntryType::Link, "set/names.txt", "../evil")
        .link(tar::EntryType::Directory, "set/other", "")
        .file("set/batch.bin", &noise(200_000))
        .file("set/names.txt", b"one\ntwo\n")
        .bytes();
    let (url, _) = serve(tarball.clone(), vec![Answer::Whole]);
    download(&archive_of(&tarball, url), &dir, &mut |_| {}).unwrap();
    assert_unpacked(&dir);
    assert_eq!(tree(outer.path()), ["inner/set/batch.bin", "inner/set/names.txt"]);
}

#[test]
fn members_that_are_missing_or_of_a_wrong_length_are_errors() {
    let without = Tarball::new().file("set/names.txt", b"one\n").bytes();
    let (_dir, result, _) = download_from(without, vec![Answer::Whole]);
    assert_eq!(result.unwrap_err().to_string(), "set.tar.gz has no batch.bin");

    let link = Tarball::new()
        .file("set/names.txt", b"one\n")
        .link(tar::EntryType::Symlink, "set/batch.bin", "names.txt")
        .bytes();
    let (_dir, result, _) = download_from(link, vec![Answer::Whole]);
    assert_eq!(result.unwrap_err().to_string(), "set.tar.gz has no batch.bin");

    let bomb = Tarball::new().file("set/batch.bin", &vec![0; 100_000_000]).bytes();
    let (dir, result, _) = download_from(bomb, vec![Answer::Whole]);
    assert_eq!(result.unwrap_err().to_string(), "batch.bin has 100000000 bytes, expected 200000");
    assert_eq!(tree(dir.path()), ["set.tar.gz.part"]);

    // Behind a member nobody asked for, the bomb is not even inflated to its end.
    let bomb = Tarball::new().file("set/readme.html", &vec![0; 100_000_000]).bytes();
    let (_dir, result, _) = download_from(bomb, vec![Answer::Whole]);
    assert!(matches!(result.unwrap_err(), Error::Data { .. }));
}

#[test]
fn cifar10_is_six_batches_and_their_names() {
    let archive = Archive::cifar10();
    assert_eq!(archive.members.len(), 7);
    let batches = archive.members.iter().filter(|member| member.bytes == (30_730_000..=30_730_000));
    assert_eq!(batches.count(), 6);
    assert_eq!(archive.sha256.len(), 64);
}
