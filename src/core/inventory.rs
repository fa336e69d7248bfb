//! Everything on a hypervisor that carries tpl's metadata, and the names and addresses that others hold.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{
    error::Refusal,
    facts::Domain,
    mac::Mac,
    manifest::{CloneRecord, Manifest, Metadata, Phase, Probe, Purpose, State},
    metadata::{
        self,
        ready::{self, Ready},
    },
    names::{TemplateId, TemplateName, TemplateRef},
    xml::read::domain_facts,
};

/// A template's version and its domain.
#[derive(Debug, Clone)]
pub struct Template {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its domain.
    pub domain: Domain,
}

/// A clone and its domain.
#[derive(Debug, Clone)]
pub struct Clone {
    /// What it says of itself.
    pub record: CloneRecord,
    /// Its domain.
    pub domain: Domain,
}

/// A hypervisor's domains, sorted by what they are to tpl.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// Templates in every state, by name and version.
    pub templates: Vec<Template>,
    /// Clones, boot tests among them, by name.
    pub clones: Vec<Clone>,
    /// KVM probes: there only while a run lives, or after one that was killed.
    pub probes: Vec<Probe>,
    /// The names of all domains.
    pub names: BTreeSet<String>,
    /// Their UUIDs.
    pub uuids: BTreeSet<Uuid>,
    /// The MACs of all domains.
    pub macs: BTreeSet<Mac>,
    /// Domains whose metadata is tpl's and cannot be read: why. They are left alone.
    pub unreadable: Vec<String>,
}

impl Inventory {
    /// Sorts a hypervisor's domains.
    pub fn of(domains: Vec<Domain>) -> Self {
        let mut inventory = Self::default();
        for domain in domains {
            inventory.take(domain);
        }
        inventory.templates.sort_by(|a, b| (&a.manifest.name, &a.manifest.version).cmp(&(&b.manifest.name, &b.manifest.version)));
        inventory.clones.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        inventory
    }

    fn take(&mut self, domain: Domain) {
        self.names.insert(domain.name.clone());
        self.uuids.insert(domain.uuid);
        if let Ok(facts) = domain_facts(&domain.xml) {
            self.macs.extend(facts.macs);
        }
        match metadata::read(&domain.xml) {
            // The name in the metadata decides what is removed: it must be the domain's own.
            Ok(Some(Metadata::Template(manifest))) if manifest.id().domain() == domain.name => {
                self.templates.push(Template { manifest: *manifest, domain });
            }
            Ok(Some(Metadata::Clone(record))) if record.name.as_str() == domain.name => {
                self.clones.push(Clone { record: *record, domain });
            }
            Ok(Some(Metadata::Probe(probe))) if probe.name == domain.name => self.probes.push(probe),
            Ok(Some(_)) => self.unreadable.push(format!("domain {}: its metadata is another domain's", domain.name)),
            Ok(None) => {}
            Err(error) => self.unreadable.push(format!("domain {}: {error}", domain.name)),
        }
    }

    /// The current version of a template: the published one that was promoted last.
    pub fn current(&self, name: &TemplateName) -> Option<&Template> {
        let published = self.templates.iter().filter(|t| t.manifest.name == *name && t.manifest.state == State::Published);
        published.max_by(|a, b| (a.manifest.promoted_at, &a.manifest.version).cmp(&(b.manifest.promoted_at, &b.manifest.version)))
    }

    /// Whether this version is the current one.
    pub fn is_current(&self, template: &Template) -> bool {
        self.current(&template.manifest.name).is_some_and(|current| current.manifest.version == template.manifest.version)
    }

    /// The version that an operator means.
    ///
    /// # Errors
    /// [`Refusal`], with what there is.
    pub fn find(&self, wanted: &TemplateRef) -> Result<&Template, Refusal> {
        let of_name: Vec<_> = self.templates.iter().filter(|t| t.manifest.name == wanted.name).collect();
        let found = match &wanted.version {
            Some(version) => of_name.iter().find(|t| t.manifest.version == *version).copied(),
            None => self.current(&wanted.name),
        };
        found.ok_or_else(|| {
            let refusal = Refusal::new(format!("there is no template {wanted}"));
            if of_name.is_empty() {
                return refusal.advise(self.offer());
            }
            let versions: Vec<_> =
                of_name.iter().map(|t| format!("{} ({})", t.manifest.id(), t.manifest.state.as_str())).collect();
            refusal.advise(format!("there are: {}", versions.join(", ")))
        })
    }

    /// What could be asked for instead.
    fn offer(&self) -> String {
        let names: BTreeSet<_> = self.templates.iter().filter(|t| self.is_current(t)).map(|t| t.manifest.name.as_str()).collect();
        if names.is_empty() {
            return "there are no templates yet: `tpl build debian13` makes one".to_owned();
        }
        format!("templates: {}", names.into_iter().collect::<Vec<_>>().join(", "))
    }

    /// The template for a call that names none: the configured one, or the only one.
    ///
    /// # Errors
    /// [`Refusal`], with the names of those there are.
    pub fn default_template(&self, configured: Option<&TemplateName>) -> Result<&Template, Refusal> {
        if let Some(name) = configured {
            return self.find(&TemplateRef { name: name.clone(), version: None });
        }
        let current: Vec<_> = self.templates.iter().filter(|t| self.is_current(t)).collect();
        match current.as_slice() {
            [only] => Ok(only),
            [] => Err(Refusal::new("there is no published template").advise("`tpl build debian13` makes one")),
            _ => Err(Refusal::new("there is more than one template, and none is named").advise(self.offer())),
        }
    }

    /// The clones of one version, boot tests among them.
    pub fn clones_of<'a>(&'a self, id: &'a TemplateId) -> impl Iterator<Item = &'a Clone> {
        self.clones.iter().filter(|clone| clone.record.template == id.name && clone.record.version == id.version)
    }

    /// The names of the linked clones of one version.
    pub fn linked_clones(&self, id: &TemplateId) -> Vec<String> {
        self.clones_of(id).filter(|clone| clone.record.linked).map(|clone| clone.record.name.to_string()).collect()
    }
}

impl Clone {
    /// Its state for people: libvirt's, or how far it is while it is being made.
    pub fn state(&self) -> &'static str {
        match self.record.phase {
            Phase::Reserved => "reserved",
            Phase::Creating => "creating",
            Phase::Removing => "removing",
            Phase::Complete => self.domain.state.as_str(),
        }
    }

    /// What it has said of itself at the end of its first boot. A mark of another instance is that of a disk's earlier machine.
    pub fn phoned_home(&self) -> Option<Ready> {
        ready::read(&self.domain.xml).ok().flatten().filter(|mark| mark.instance == self.domain.uuid)
    }

    /// Whether an operator asked for it.
    pub fn is_vm(&self) -> bool {
        self.record.purpose == Purpose::Clone
    }
}
