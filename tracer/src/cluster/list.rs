//! Lists the objects of a cluster once, for a command that explains: each kind in all namespaces or, where the
//! user is allowed less, in the namespaces that matter.
//!
//! Needs the verb `list` alone. A kind that cannot be listed is reported, and is no error: the rest can still
//! be explained. An object that cannot be read is left out, and named.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::networking::v1 as networking;
use kube::api::ListParams;
use kube::{Api, Client};

use super::kubeconfig::explain;
use super::slim::{Slim, Watched};
use tracer_core::explain::Coverage;
use tracer_core::files::objects::Trimmer;
use tracer_core::model::cluster::{ClusterChange, Kind, Listed, PodScope};

/// Objects per page of a list.
const PAGE_SIZE: u32 = 250;
/// Objects of a kind that cannot be read and are named.
const MAX_MALFORMED: usize = 3;

/// The objects of a cluster.
#[derive(Debug)]
pub struct Listing {
    /// The lists, as changes of an index.
    pub changes: Vec<ClusterChange>,
    /// Which kinds could be listed, and where.
    pub coverage: Coverage,
    /// Objects that cannot be read.
    pub warnings: Vec<String>,
    /// Why no kind could be listed, if none could.
    pub failure: Option<String>,
}

/// Lists all kinds; `namespaces` are those that matter if the user is not allowed to list a kind in all.
pub async fn list(client: &Client, namespaces: &[String]) -> Listing {
    let mut lister = Lister {
        client,
        namespaces,
        trimmer: Trimmer::new(),
        listing: Listing {
            changes: vec![ClusterChange::Asked {
                kinds: Kind::ALL.to_vec(),
                pods: PodScope::Cluster,
            }],
            coverage: Coverage::default(),
            warnings: Vec::new(),
            failure: None,
        },
        any: false,
    };
    lister.namespaced::<core::Pod>().await;
    lister.namespaced::<core::Service>().await;
    lister.namespaced::<discovery::EndpointSlice>().await;
    lister.namespaced::<networking::NetworkPolicy>().await;
    lister.whole::<core::Node>().await;
    lister.whole::<core::Namespace>().await;
    lister.whole::<networking::ServiceCIDR>().await;
    if lister.any {
        lister.listing.failure = None;
    }
    lister.listing
}

struct Lister<'a> {
    client: &'a Client,
    namespaces: &'a [String],
    trimmer: Trimmer,
    listing: Listing,
    /// A kind was listed.
    any: bool,
}

impl Lister<'_> {
    /// A kind with namespaces.
    async fn namespaced<K>(&mut self)
    where
        K: Watched + Clone + std::fmt::Debug + kube::Resource<Scope = NamespaceResourceScope>,
    {
        let refusal = match self.pages(&Api::<Slim<K>>::all(self.client.clone())).await {
            Ok(listed) => return self.listed(listed),
            Err(error) => error,
        };
        if !is_forbidden(&refusal) || self.namespaces.is_empty() {
            return self.refused(K::KIND, &refusal);
        }
        let mut all = Listed::empty(K::KIND);
        let mut allowed = Vec::new();
        for namespace in self.namespaces {
            let api = Api::<Slim<K>>::namespaced(self.client.clone(), namespace);
            if let Ok(listed) = self.pages(&api).await {
                all.append(listed);
                allowed.push(namespace.clone());
            }
        }
        if allowed.is_empty() {
            return self.refused(K::KIND, &refusal);
        }
        self.listing.coverage.limit(K::KIND, allowed);
        self.listed(all);
    }

    /// A kind without namespaces.
    async fn whole<K: Watched + Clone + std::fmt::Debug>(&mut self) {
        match self.pages(&Api::<Slim<K>>::all(self.client.clone())).await {
            Ok(listed) => self.listed(listed),
            Err(error) => self.refused(K::KIND, &error),
        }
    }

    fn listed(&mut self, listed: Listed) {
        self.any = true;
        self.listing.changes.push(ClusterChange::List(listed));
    }

    fn refused(&mut self, kind: Kind, error: &kube::Error) {
        let reason = explain(error);
        let failure = &mut self.listing.failure;
        failure.get_or_insert_with(|| reason.clone());
        self.listing.coverage.refuse(kind, reason);
        self.listing.changes.push(ClusterChange::Refused(kind));
    }

    async fn pages<K: Watched + Clone + std::fmt::Debug>(
        &mut self,
        api: &Api<Slim<K>>,
    ) -> Result<Listed, kube::Error> {
        let mut all = Listed::empty(K::KIND);
        let mut page = ListParams::default().limit(PAGE_SIZE);
        let mut malformed = 0;
        loop {
            let list = api.list(&page).await?;
            for slim in list.items {
                let key = slim.key();
                let trimmed = slim.object.and_then(|object| {
                    let trimmed = object.trim(&mut self.trimmer);
                    trimmed.map_err(|error| error.to_string())
                });
                match trimmed {
                    Ok(object) => all.push(object),
                    Err(why) => {
                        malformed += 1;
                        if malformed <= MAX_MALFORMED {
                            let resource = K::KIND.resource();
                            let name = format!("{}/{}", key.namespace, key.name);
                            let warning = format!("{resource}: {name} cannot be read: {why}");
                            self.listing.warnings.push(warning);
                        }
                    }
                }
            }
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(all),
            }
        }
    }
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403))
}
