//! Pickles as Python 2's cPickle wrote CIFAR's, opcode by opcode (CPython's `pickletools.py`).

/// A text of at most 255 bytes.
pub fn text(text: &str) -> Vec<u8> {
    [&[b'U', text.len() as u8], text.as_bytes()].concat()
}

/// The dictionary of a batch with `pixels` bytes an image: what comes before the bytes of all images, and what comes after them.
pub fn batch(labels: &[u8], labels_key: &str, pixels: usize) -> (Vec<u8>, Vec<u8>) {
    let images = labels.len();
    let mut before = b"\x80\x02}q\x01(".to_vec();
    before.extend([text("batch_label"), b"q\x02".to_vec(), text("training batch 1 of 5"), b"q\x03".to_vec()].concat());
    before.extend([text(labels_key), b"q\x04]q\x05".to_vec()].concat());
    // A thousand items at a time, as cPickle does.
    for thousand in labels.chunks(1000) {
        before.push(b'(');
        thousand.iter().for_each(|&label| before.extend([b'K', label]));
        before.push(b'e');
    }
    before.extend(
        [text("data"), b"q\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\0\x85".to_vec()]
            .concat(),
    );
    before.extend([text("b"), b"\x87Rq\x09(K\x01J".to_vec(), (images as i32).to_le_bytes().to_vec()].concat());
    before
        .extend([b"M".to_vec(), (pixels as u16).to_le_bytes().to_vec(), b"\x86cnumpy\ndtype\nq\x0a".to_vec()].concat());
    before.extend([text("u1"), b"K\0K\x01\x87Rq\x0b(K\x03".to_vec(), text("|")].concat());
    before.extend(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89T");
    before.extend(((images * pixels) as i32).to_le_bytes());

    let mut after = b"q\x0ctb".to_vec();
    after.extend([text("filenames"), b"q\x0d]q\x0e(".to_vec(), text("a.png"), b"q\x0fh\x0feu.".to_vec()].concat());
    (before, after)
}

/// The dictionary of the class names.
pub fn names(key: &str, names: &[&str]) -> Vec<u8> {
    let mut bytes = b"\x80\x02}q\x01(".to_vec();
    bytes.extend([text("num_vis"), b"q\x02M\0\x0c".to_vec(), text(key), b"q\x03]q\x04(".to_vec()].concat());
    names.iter().for_each(|name| bytes.extend(text(name)));
    bytes.extend(b"eu.");
    bytes
}
