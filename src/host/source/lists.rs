//! The small files of a chain of trust: from the network, and then kept; offline, as they were kept.

use std::cell::RefCell;

use anyhow::Result;

use super::{Access, Resolved, Wanted, cache::Cache, http::Http};
use crate::core::error::Refusal;

/// Lists and signatures of one resolution.
pub struct Lists<'a> {
    http: &'a Http,
    cache: &'a Cache,
    access: Access,
    fetched: RefCell<Vec<(String, Option<Vec<u8>>)>>,
}

impl<'a> Lists<'a> {
    /// None fetched yet.
    pub fn new(http: &'a Http, cache: &'a Cache, access: Access) -> Self {
        Self { http, cache, access, fetched: RefCell::default() }
    }

    /// Whether the network may be used.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Offline: refuses unless all these lists were kept. `files` are the URLs that they would lead to; those that never came
    /// are named too, so that the operator learns everything at once.
    ///
    /// # Errors
    /// [`Refusal`] with all that is missing; a list cannot be read.
    pub fn require(&self, lists: &[&str], files: &[&str]) -> Result<()> {
        if self.access == Access::Online {
            return Ok(());
        }
        let mut lacking = Vec::new();
        for url in lists {
            if self.cache.list(url)?.is_none() {
                lacking.push((*url).to_owned());
            }
        }
        if lacking.is_empty() {
            return Ok(());
        }
        let came = |url: &str| self.cache.record(url).is_some_and(|record| self.cache.has(record.digest));
        lacking.extend(files.iter().filter(|url| !came(url)).map(|url| (*url).to_owned()));
        Err(missing(&lacking).into())
    }

    /// Offline: refuses unless the cache has all files that were found.
    ///
    /// # Errors
    /// [`Refusal`] with all that are missing.
    pub fn require_files(&self, resolved: &Resolved) -> Result<(), Refusal> {
        if self.access == Access::Online {
            return Ok(());
        }
        let lacking: Vec<String> = resolved
            .files
            .iter()
            .filter_map(|(_, wanted)| match wanted {
                Wanted::Download { url, digest } if !self.cache.has(*digest) => Some(url.clone()),
                _ => None,
            })
            .collect();
        if lacking.is_empty() { Ok(()) } else { Err(missing(&lacking)) }
    }

    /// A list or a signature; none if there is no such file.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn get(&self, url: &str) -> Result<Option<Vec<u8>>> {
        if self.access == Access::Offline {
            return self.cache.list(url)?.ok_or_else(|| missing(&[url.to_owned()]).into());
        }
        let bytes = self.http.list(url)?;
        self.fetched.borrow_mut().push((url.to_owned(), bytes.clone()));
        Ok(bytes)
    }

    /// Keeps what came.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(self) -> Result<()> {
        let fetched = self.fetched.into_inner();
        fetched.iter().try_for_each(|(url, bytes)| self.cache.keep_list(url, bytes.as_deref()))
    }
}

/// What a build without a network lacks.
pub fn missing(urls: &[String]) -> Refusal {
    let reasons = urls.iter().map(|url| format!("--offline: the cache has no {url}")).collect();
    let advice = "`tpl cache fetch PIPELINE` fetches what is missing, where there is a network";
    Refusal { reasons, advice: Some(advice.to_owned()) }
}
