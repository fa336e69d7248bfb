//! A snapshot, as libvirt is asked for it.

use quick_xml::escape::escape;

/// The XML of a snapshot with this name and this description.
pub fn snapshot(name: &str, description: &str) -> String {
    let (name, description) = (escape(name), escape(description));
    format!("<domainsnapshot><name>{name}</name><description>{description}</description></domainsnapshot>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(
            snapshot("fresh", "<b> & 'c'"),
            "<domainsnapshot><name>fresh</name><description>&lt;b&gt; &amp; &apos;c&apos;</description></domainsnapshot>"
        );
    }
}
