//! Domains that create domains: no more than they hold, and no longer than they live.
