//! What a guest has to be told in shell, because cloud-init's modules cannot do it without harm. Each runs once, before
//! packages are installed: `bootcmd` alone runs at every boot, hence cloud-init-per.

/// Puts another mirror into the distribution's own sources of apt: `$1`, in the folder `$2`.
///
/// cloud-init's own `apt: primary` would write the files anew from its template: the components, options and keys that the
/// template was installed with would be lost, and the security archive would be looked for on the mirror, where Debian's is
/// not. Here only the URLs change, and those of security updates stay. Sources of other vendors are in other files.
pub const APT_MIRROR: &str = r#"set -eu
cd "$2"
if [ -f sources.list ]; then
  sed -i -E '/-security|\/updates/!s#^(deb(-src)?[[:space:]]+(\[[^]]*\][[:space:]]+)?)(https?|mirror[+a-z]*):[^[:space:]]+#\1'"$1"'#' sources.list
fi
for file in sources.list.d/debian.sources sources.list.d/ubuntu.sources; do
  [ -f "$file" ] || continue
  awk -v url="$1" 'BEGIN { RS = ""; ORS = "\n\n" }
    ("\n" $0) !~ /\n(URIs|Suites):[^\n]*(-security|\/updates)/ { $0 = "\n" $0; gsub(/\nURIs:[^\n]*/, "\nURIs: " url); sub(/^\n/, "") }
    { print }' "$file" >"$file.tpl"
  cat "$file.tpl" >"$file"
  rm "$file.tpl"
done
"#;

/// Writes `$1` into `/etc/resolv.conf`, unless that is a link: then something in the guest manages it.
pub const RESOLV_CONF: &str = "[ -L /etc/resolv.conf ] || printf %s \"$1\" >/etc/resolv.conf\n";

/// Lets cloud-init know at later boots, by the seed folder `$2`, that it is still the instance `$1`, without a network: else it asks the metadata service at
/// each, and where that does not answer takes the machine for a new one of nobody's, with other host keys.
///
/// A seed folder without `user-data` is no seed to it, but is looked into for this.
pub const INSTANCE: &str = r#"set -eu
mkdir -p "$2"
printf 'instance-id: %s\n' "$1" >"$2/meta-data"
"#;

/// A command that runs once in a clone's life, under a name of its own.
pub(super) fn once(name: &str, script: &str, arguments: &[&str]) -> Vec<String> {
    let words = ["cloud-init-per", "instance", name, "sh", "-c", script, "sh"];
    words.iter().chain(arguments).map(|word| (*word).to_owned()).collect()
}
