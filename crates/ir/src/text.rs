//! `.gir` text, both ways: `parse(print(graph)) == graph`.
//!
//! ```text
//! ; A comment runs to the end of the line.
//! graph @mlp(%x: f32[n, 8]) {
//!   %0 = weight {key="w", dtype=f32, shape=[8, 2]} : f32[8, 2]
//!   region @head contraction {
//!     %1 = matmul %x, %0 {acc=f32, out=f32} : f32[n, 2] @"fc/MatMul"
//!     %2 = relu %1 : f32[n, 2]
//!   }
//!   return y = %2
//! }
//! ```
//! Types stand on every line although they follow from the operands, so a wrong type is something to verify. Names
//! that are not identifiers are quoted. Printing renumbers values in canonical order.

use crate::attr::{quote, unquote};
use crate::graph::{Graph, NodeId};
use crate::op::Op;
use crate::region::{Region, RegionKind};
use crate::types::Type;
use gable_tensor::{DType, Dim};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

/// Where and why text is not a graph.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What was found and expected.
    pub message: String,
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print(self))
    }
}

/// The text of a graph. A graph with a cycle prints in insertion order, to be looked at, not to be read back.
pub fn print(graph: &Graph) -> String {
    let order = graph.try_order().unwrap_or_else(|| graph.ids());
    let mut names: BTreeMap<NodeId, String> = BTreeMap::new();
    for &id in graph.inputs() {
        names.insert(id, format!("%{}", name(graph.input_name(id))));
    }
    let numbered = order.iter().filter(|id| !matches!(graph.op(**id), Op::Input(_)));
    for (number, &id) in numbered.enumerate() {
        names.insert(id, format!("%{number}"));
    }
    let region_of: BTreeMap<NodeId, usize> =
        graph.regions.iter().enumerate().flat_map(|(i, r)| r.nodes.iter().map(move |&id| (id, i))).collect();

    let arguments: Vec<String> = graph.inputs().iter().map(|id| format!("{}: {}", names[id], graph.ty(*id))).collect();
    let mut out = format!("graph @{}({}) {{\n", name(&graph.name), arguments.join(", "));
    let mut open = None;
    for &id in order.iter().filter(|id| !matches!(graph.op(**id), Op::Input(_))) {
        let region = region_of.get(&id).copied();
        if region != open {
            if open.is_some() {
                out.push_str("  }\n");
            }
            if let Some(index) = region {
                let region = &graph.regions[index];
                let _ = writeln!(out, "  region @{} {} {{", name(&region.name), region.kind.name());
            }
            open = region;
        }
        let indent = if open.is_some() { "    " } else { "  " };
        let _ = writeln!(out, "{indent}{}", print_node(graph, id, &names));
    }
    if open.is_some() {
        out.push_str("  }\n");
    }
    let results: Vec<String> = graph
        .outputs()
        .iter()
        .map(|(output, id)| format!("{} = {}", name(output), names.get(id).map_or("%?", String::as_str)))
        .collect();
    let _ = writeln!(out, "  return {}\n}}", results.join(", "));
    out
}

fn print_node(graph: &Graph, id: NodeId, names: &BTreeMap<NodeId, String>) -> String {
    let node = graph.node(id);
    let mut line = format!("{} = {}", names[&id], node.op.name());
    for (position, operand) in graph.operands(id).iter().enumerate() {
        let _ = write!(line, "{} {}", if position > 0 { "," } else { "" }, names[operand]);
    }
    let attrs: Vec<String> = node.op.attrs().iter().map(|(name, value)| format!("{name}={value}")).collect();
    if !attrs.is_empty() {
        let _ = write!(line, " {{{}}}", attrs.join(", "));
    }
    let _ = write!(line, " : {}", node.ty);
    if let Some(origin) = &node.origin {
        let _ = write!(line, " @{}", quote(origin));
    }
    line
}

/// A name as it is when it is an identifier (letters, digits, `_`, `.`, `-`, starting with a letter or `_`), else quoted.
fn name(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(is_name_char);
    if plain { text.to_string() } else { quote(text) }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// Reads one graph. The result may be wrong in ways that [`crate::verify`] reports; it is never half a graph.
pub fn parse(text: &str) -> Result<Graph, ParseError> {
    let mut parser = Parser { text, at: 0, values: BTreeMap::new() };
    let graph = parser.graph()?;
    parser.skip_space();
    if parser.at < text.len() {
        return Err(parser.error("expected nothing after the graph"));
    }
    Ok(graph)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    values: BTreeMap<String, NodeId>,
}

impl<'a> Parser<'a> {
    fn graph(&mut self) -> Result<Graph, ParseError> {
        self.expect("graph")?;
        self.expect("@")?;
        let mut graph = Graph::new(self.name()?);
        self.expect("(")?;
        while !self.eat(")") {
            self.expect("%")?;
            let name = self.name()?;
            self.expect(":")?;
            let ty = self.ty()?;
            let id = graph.input(name.clone(), ty);
            self.define(name, id)?;
            if !self.eat(",") {
                self.expect(")")?;
                break;
            }
        }
        self.expect("{")?;
        loop {
            if self.eat_word("return") {
                break;
            }
            if self.eat_word("region") {
                self.region(&mut graph)?;
            } else {
                self.node(&mut graph)?;
            }
        }
        while !self.eat("}") {
            let name = self.name()?;
            self.expect("=")?;
            let id = self.value()?;
            graph.output(name, id);
            if !self.eat(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(graph)
    }

    fn region(&mut self, graph: &mut Graph) -> Result<(), ParseError> {
        self.expect("@")?;
        let name = self.name()?;
        let kind = self.word();
        let kind = <RegionKind as crate::attr::Attr>::parse(kind).map_err(|e| self.error(e))?;
        self.expect("{")?;
        let mut nodes = Vec::new();
        while !self.eat("}") {
            nodes.push(self.node(graph)?);
        }
        graph.regions.push(Region::new(name, kind, nodes));
        Ok(())
    }

    fn node(&mut self, graph: &mut Graph) -> Result<NodeId, ParseError> {
        self.expect("%")?;
        let name = self.name()?;
        self.expect("=")?;
        let op_name = self.word().to_string();
        let mut operands = Vec::new();
        while self.peek() == Some('%') {
            operands.push(self.value()?);
            if !self.eat(",") {
                break;
            }
        }
        let mut attrs: BTreeMap<&str, &str> = BTreeMap::new();
        if self.eat("{") {
            while !self.eat("}") {
                let attr = self.word();
                self.expect("=")?;
                let value = self.attr_value()?;
                if attrs.insert(attr, value).is_some() {
                    return Err(self.error(format!("attribute `{attr}` is given twice")));
                }
                if !self.eat(",") {
                    self.expect("}")?;
                    break;
                }
            }
        }
        let op = Op::parse(&op_name, &|attr| attrs.get(attr).map(|text| text.to_string()));
        let op = op.map_err(|e| self.error(e.0))?;
        if let Some(unknown) = attrs.keys().find(|attr| !op.info().attrs.contains(attr)) {
            return Err(self.error(format!("`{op_name}` has no attribute `{unknown}`")));
        }
        if matches!(op, Op::Input(_)) {
            return Err(self.error("inputs stand in the graph's head, not in its body"));
        }
        self.expect(":")?;
        let ty = self.ty()?;
        let id = graph.add_unchecked(op, &operands, ty);
        if self.eat("@") {
            let origin = self.quoted()?;
            graph.node_mut(id).origin = Some(origin);
        }
        self.define(name, id)?;
        Ok(id)
    }

    fn define(&mut self, name: String, id: NodeId) -> Result<(), ParseError> {
        match self.values.insert(name.clone(), id) {
            Some(_) => Err(self.error(format!("value %{name} is defined twice"))),
            None => Ok(()),
        }
    }

    fn value(&mut self) -> Result<NodeId, ParseError> {
        self.expect("%")?;
        let name = self.name()?;
        self.values
            .get(&name)
            .copied()
            .ok_or_else(|| self.error(format!("value %{name} is not defined before its use")))
    }

    fn ty(&mut self) -> Result<Type, ParseError> {
        let dtype = self.word();
        let dtype: DType = dtype.parse().map_err(|e: String| self.error(e))?;
        self.expect("[")?;
        let mut shape = Vec::new();
        while !self.eat("]") {
            let rest = &self.text[self.at..];
            let end = rest.find([',', ']', '\n']).unwrap_or(rest.len());
            shape.push(Dim::parse(rest[..end].trim()).map_err(|e| self.error(e))?);
            self.at += end;
            if !self.eat(",") {
                self.expect("]")?;
                break;
            }
        }
        Ok(Type { dtype, shape })
    }

    /// The text of an attribute's value: up to a comma or brace outside brackets and quotes.
    fn attr_value(&mut self) -> Result<&'a str, ParseError> {
        self.skip_space();
        let rest = &self.text[self.at..];
        let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
        for (at, c) in rest.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                '[' | '(' if !quoted => depth += 1,
                ']' | ')' if !quoted && depth > 0 => depth -= 1,
                ',' | '}' if !quoted && depth == 0 => {
                    self.at += at;
                    return Ok(rest[..at].trim());
                }
                _ => {}
            }
        }
        Err(self.error("the attribute's value does not end"))
    }

    fn name(&mut self) -> Result<String, ParseError> {
        if self.peek() == Some('"') {
            return self.quoted();
        }
        let word = self.word();
        if word.is_empty() {
            return Err(self.error("expected a name"));
        }
        Ok(word.to_string())
    }

    fn quoted(&mut self) -> Result<String, ParseError> {
        self.skip_space();
        let rest = &self.text[self.at..];
        let mut escaped = false;
        for (at, c) in rest.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    let text = unquote(&rest[..=at]).map_err(|e| self.error(e))?;
                    self.at += at + 1;
                    return Ok(text);
                }
                _ => {}
            }
        }
        Err(self.error("the quoted name does not end"))
    }

    fn word(&mut self) -> &'a str {
        self.skip_space();
        let rest = &self.text[self.at..];
        let end = rest.find(|c| !is_name_char(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn peek(&mut self) -> Option<char> {
        self.skip_space();
        self.text[self.at..].chars().next()
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let start = self.at;
        if self.word() == word {
            return true;
        }
        self.at = start;
        false
    }

    fn expect(&mut self, token: &str) -> Result<(), ParseError> {
        if self.eat(token) {
            return Ok(());
        }
        let found: String = self.text[self.at..].chars().take(12).take_while(|c| *c != '\n').collect();
        let found = if found.is_empty() { "the end".to_string() } else { format!("`{found}`") };
        Err(self.error(format!("expected `{token}`, found {found}")))
    }

    fn skip_space(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with(';') {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn error(&self, message: impl Into<String>) -> ParseError {
        let before = &self.text[..self.at];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        ParseError { line, column, message: message.into() }
    }
}
