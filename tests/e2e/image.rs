//! A build from a cloud image: the shared template's own content, packed as vendors pack theirs, behind a web server with a
//! checksum list.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    thread,
};

use super::{
    build::template_id,
    lab::{folder, left, pipeline, run, seen_in_clone, tpl, volume_path},
};

const NAME: &str = "tpl-e2e-image";

/// Serves the files of a folder until the tests end; the address.
fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let folder = folder.clone();
            // A client that hangs up is its own matter.
            thread::spawn(move || answer(stream, &folder));
        }
    });
    address
}

fn answer(mut stream: TcpStream, folder: &Path) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    lines.find(|line| line.is_empty())?;
    let file = File::open(folder.join(path.rsplit('/').next()?)).ok();
    let Some(mut file) = file else {
        return stream.write_all(b"HTTP/1.1 404 x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").ok();
    };
    let length = file.metadata().ok()?.len();
    write!(stream, "HTTP/1.1 200 x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n").ok()?;
    std::io::copy(&mut file, &mut stream).ok().map(drop)
}

#[test]
fn an_image_of_a_vendor_becomes_a_template() {
    let vendor = folder().join("vendor");
    fs::create_dir_all(&vendor).unwrap();
    let qcow2 = vendor.join("cloud.qcow2");
    let volume = volume_path(&template_id().replace('@', "."));
    run("qemu-img", &["convert", "-c", "-f", "raw", "-O", "qcow2", &volume, qcow2.to_str().unwrap()]);
    // What it is is told by its content, and this name says nothing.
    let image = vendor.join("cloud.img");
    run("zstd", &["-q", "-1", "--rm", qcow2.to_str().unwrap(), "-o", image.to_str().unwrap()]);
    let sum = run("sha256sum", &["--", image.to_str().unwrap()]);
    let digest = sum.split_whitespace().next().unwrap();
    fs::write(vendor.join("SHA256SUMS"), format!("{digest} *cloud.img\n")).unwrap();
    let address = serve(vendor);
    let text = format!(
        "description = \"a vendor's image\"\n[source]\nkind = \"image\"\nurl = \"http://{address}/cloud.img\"\n\
         checksums = \"http://{address}/SHA256SUMS\"\n[seal]\nshrink = false\n[clone]\nuser = \"debian\"\nmemory = \"512MiB\"\ndisk = \"8G\"\n"
    );
    fs::write(pipeline(NAME), text).unwrap();
    let file = pipeline(NAME);

    let refused = tpl(&["build", &file, "--allow-unsigned=false"]);
    assert_eq!(refused.code, 3, "nobody has signed the list: {refused:#?}");
    assert_eq!(left(&format!("{NAME}.")), Vec::<String>::new());
    let report = tpl(&["build", &file, "--allow-unsigned", "--output", "json"]).json();
    let stages: Vec<_> = report["stages"].as_array().unwrap().iter().map(|stage| stage["name"].as_str().unwrap()).collect();
    assert_eq!(stages[..5], ["source", "image", "seal", "verify", "boot test"], "{stages:?}");
    let size: u64 = run("stat", &["-c", "%s", &volume]).trim().parse().unwrap();
    assert_eq!(report["virtual_size"].as_u64(), Some(size), "it keeps its size");
    let unchanged = tpl(&["build", &file, "--allow-unsigned", "--if-changed", "--output", "json"]).json();
    assert_eq!(unchanged["changed"], false);

    assert_eq!(seen_in_clone(NAME, "tpl-e2e-imaged", "hostname"), "tpl-e2e-imaged\n");
    tpl(&["rm", &format!("{NAME}@{}", report["version"].as_str().unwrap())]).ok();
    assert_eq!(left(NAME), Vec::<String>::new());
}
