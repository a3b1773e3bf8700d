//! The digest of a schema.

use sha2::{Digest, Sha256};

use super::Node;

/// The first 64 bits of the SHA-256 of the nodes, which are in the order of their discovery: by breadth, in the order of
/// fields and variants, hence the same in every run.
pub(super) fn of(root: &str, nodes: &[Node]) -> u64 {
    let mut digest = Sha256::new();
    text(&mut digest, root);
    for node in nodes {
        digest.update([node.kind as u8]);
        text(&mut digest, node.name);
        text(&mut digest, &node.value);
        number(&mut digest, node.len);
        number(&mut digest, node.names.len());
        node.names.iter().for_each(|name| text(&mut digest, name));
        number(&mut digest, node.edges.len());
        for edge in &node.edges {
            text(&mut digest, &edge.value);
            number(&mut digest, edge.target.map_or(usize::MAX, |target| target as usize));
        }
    }
    let digest = digest.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(first)
}

/// Framed by its length, so that no two sequences of names run together into the same bytes.
fn text(digest: &mut Sha256, text: &str) {
    number(digest, text.len());
    digest.update(text);
}

fn number(digest: &mut Sha256, number: usize) {
    digest.update((number as u64).to_le_bytes());
}
