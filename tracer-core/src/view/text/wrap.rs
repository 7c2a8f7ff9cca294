//! Sentences broken into lines.

use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// Breaks a text at spaces into lines of at most `width` columns. A longer word gets a line of its own: names
/// and addresses are there to be copied, so nothing breaks inside them, not even at a hyphen.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let options = Options::new(width)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    // A line break or a second space in the text has no meaning.
    let words: Vec<&str> = text.split_whitespace().collect();
    textwrap::wrap(&words.join(" "), options)
        .into_iter()
        .map(std::borrow::Cow::into_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn lines_break_at_spaces_and_never_inside_a_name() {
        assert_eq!(
            wrap("use  clusterip-apache2-ds-myns.myns\nor wait", 12),
            ["use", "clusterip-apache2-ds-myns.myns", "or wait"]
        );
        assert_eq!(wrap("exactly ten", 11), ["exactly ten"]);
        assert_eq!(wrap("→ → →", 3), ["→ →", "→"]);
    }
}
