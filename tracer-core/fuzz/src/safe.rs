//! What may be printed. Defined independently of the code that ensures it.

/// Text from a DNS message: printable ASCII and nothing else.
#[track_caller]
pub fn assert_ascii(text: &str) {
    let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    assert!(printable, "not printable ASCII: {text:?}");
}

/// Text for a terminal: no control character but the end of a line, so no escape sequence, and none
/// of the marks that let text read other than it is (Unicode TR 36 section 3.5, "Bidirectional Text
/// Spoofing").
#[track_caller]
pub fn assert_terminal(text: &str) {
    for line in text.split('\n') {
        let bad = line.chars().find(|character| {
            character.is_control()
                || matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}')
        });
        assert_eq!(bad, None, "unsafe on a terminal: {line:?}");
    }
}
