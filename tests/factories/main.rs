//! Factories: what their products are given, whom those could tell, and whose they are.

mod judge;
mod making;
mod marks;
