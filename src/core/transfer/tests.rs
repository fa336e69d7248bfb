use super::*;

const MIB: u64 = CHUNK;

/// A list whose chunks are digests of one repeated byte; 0 is a hole.
fn list(size: u64, chunks: &[u8]) -> ChunkList {
    ChunkList::new(size, chunks.iter().map(|byte| (*byte != 0).then_some([*byte; 32])).collect()).unwrap()
}

/// `index` for a chunk onto something else, `index'` for one onto zeros; then those to be cleared.
fn said(needed: &Needed) -> String {
    let send: Vec<String> =
        needed.send.iter().map(|part| format!("{}{}", part.index, if part.blank { "'" } else { "" })).collect();
    let clear: Vec<String> = needed.clear.iter().map(u64::to_string).collect();
    format!("{} | {}", send.join(" "), clear.join(" "))
}

#[test]
fn what_is_needed_is_what_differs() {
    let wanted = list(4 * MIB, &[1, 0, 2, 3]);
    let table = [
        (None, "0' 2' 3' | ", 3 * MIB),
        (Some(list(4 * MIB, &[1, 0, 2, 3])), " | ", 0),
        (Some(list(4 * MIB, &[1, 4, 0, 5])), "2' 3 | 1", 2 * MIB),
        // A shorter one grows by zeros; what a longer one has behind the end is cut off.
        (Some(list(MIB + 512, &[1, 6])), "2' 3' | 1", 2 * MIB),
        (Some(list(0, &[])), "0' 2' 3' | ", 3 * MIB),
        (Some(list(6 * MIB, &[1, 0, 2, 3, 7, 8])), " | ", 0),
    ];
    for (there, expected, bytes) in table {
        let needed = Needed::of(&wanted, there.as_ref());
        assert_eq!((said(&needed).as_str(), needed.bytes(4 * MIB)), (expected, bytes), "{there:?}");
        assert_eq!(needed.is_nothing(), expected == " | ");
    }
    assert_eq!(Needed::of(&list(MIB + 512, &[0, 1]), None).bytes(MIB + 512), 512);
}

#[test]
fn chunks_are_alike_but_the_last() {
    for (index, size, length) in [(0, 10, 10), (0, MIB, MIB), (1, MIB, 0), (1, MIB + 1, 1), (u64::MAX, MIB, 0)] {
        assert_eq!(length_of(index, size), length, "{index} of {size}");
    }
}

#[test]
fn the_base_is_the_one_that_saves_most() {
    let wanted = list(20 * MIB, &[1; 20]);
    let changed = |count: usize| {
        let chunks: Vec<u8> = (0..20).map(|index| if index < count { 9 } else { 1 }).collect();
        list(20 * MIB, &chunks)
    };
    let id = |version: &str| format!("a@{version}").parse::<crate::core::names::TemplateRef>().unwrap();
    let id = |version: &str| TemplateId { name: id(version).name, version: id(version).version.unwrap() };
    let (one, two, three) = (id("20261119-031000"), id("20261120-031000"), id("20261121-031000"));
    let table = [
        (vec![], None),
        (vec![(one.clone(), changed(20))], None),
        // A copy that saves less than a tenth is not worth it.
        (vec![(one.clone(), changed(19))], None),
        (vec![(one.clone(), changed(18))], Some(&one)),
        (vec![(one.clone(), changed(3)), (two.clone(), changed(1)), (three.clone(), changed(2))], Some(&two)),
        // Of two that are alike the newer one.
        (vec![(one.clone(), changed(1)), (three.clone(), changed(1)), (two.clone(), changed(1))], Some(&three)),
    ];
    for (there, expected) in table {
        assert_eq!(best_base(&wanted, &there).map(|(id, _)| id), expected, "{there:?}");
    }
}

#[test]
fn zeros_are_left_out_where_there_are_zeros_already() {
    let data = |at: u64, bytes: &[u8]| Piece::Data { at, bytes: bytes.to_vec() };
    let table: [(&[u8], bool, usize, Vec<Piece>); 6] = [
        (&[0, 0, 1, 0, 0, 0, 2, 3], false, 2, vec![data(100, &[0, 0, 1, 0, 0, 0, 2, 3])]),
        (&[0, 0, 1, 0, 0, 0, 2, 3], true, 2, vec![data(102, &[1, 0]), data(106, &[2, 3])]),
        (&[0, 0, 1, 0, 4, 0, 2, 3, 0], true, 2, vec![data(102, &[1, 0, 4, 0, 2, 3])]),
        (&[0, 0, 1, 0, 0, 0, 2, 3], true, 4, vec![data(100, &[0, 0, 1, 0, 0, 0, 2, 3])]),
        (&[1, 0, 0, 0, 0, 0, 0, 0, 5], true, 4, vec![data(100, &[1, 0, 0, 0]), data(108, &[5])]),
        (&[0; 8], true, 4, vec![]),
    ];
    for (bytes, blank, grain, expected) in table {
        assert_eq!(pieces(100, bytes.to_vec(), blank, grain), expected, "{bytes:?} {blank} {grain}");
    }
}

#[test]
fn parts_cover_all_of_a_disk() {
    let needed = Needed { send: [1, 2, 5, 6, 8].map(|index| Part { index, blank: false }).to_vec(), clear: vec![0, 3, 4, 9] };
    let parts = |needed: &Needed, least, most| -> Vec<String> {
        let said = |((first, end), part): ((u64, u64), Needed)| format!("{first}..{end}: {}", said(&part));
        needed.parts(10, least, most).into_iter().map(said).collect()
    };
    assert_eq!(parts(&needed, 1, 2), ["0..5: 1 2 | 0 3 4", "5..6: 5 | ", "6..8: 6 | ", "8..10: 8 | 9"]);
    assert_eq!(parts(&needed, 2, 9), ["0..5: 1 2 | 0 3 4", "5..8: 5 6 | ", "8..10: 8 | 9"]);
    assert_eq!(parts(&needed, 9, 9), ["0..10: 1 2 5 6 8 | 0 3 4 9"]);
    assert_eq!(parts(&Needed::default(), 1, 2), ["0..10:  | "]);
    assert_eq!(parts(&Needed { send: vec![], ..needed }, 1, 2), ["0..10:  | 0 3 4 9"]);
}
