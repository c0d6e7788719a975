//! The parser of whole modules: what each construct becomes, what is refused and where, and that no text makes it panic.

use std::path::Path;
use std::sync::LazyLock;

use gable_ptx::syntax::{
    Function, Initializer, Instruction, Item, Linkage, Operand, Source, Statement, StorageType, Variable,
    VariableSpace, parse,
};
use proptest::prelude::*;

fn source(items: &str) -> Source {
    let text = format!(".version 8.6\n.target sm_100a, debug\n.address_size 64\n{items}");
    parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn error(items: &str) -> String {
    let text = format!(".version 8.6\n.target sm_100a\n.address_size 64\n{items}");
    parse(&text).expect_err(&text).to_string()
}

fn variables_of(source: &Source) -> Vec<&Variable> {
    let mut variables = Vec::new();
    for item in &source.items {
        if let Item::Variable(variable) = item {
            variables.push(variable);
        }
    }
    variables
}

fn body(statements: &str) -> Vec<Statement> {
    let mut source = source(&format!(".entry k() {{ {statements} }}"));
    match source.items.remove(0) {
        Item::Function(Function { body: Some(body), .. }) => body,
        other => panic!("{other:?}"),
    }
}

fn instruction(text: &str) -> Instruction {
    match body(text).remove(0) {
        Statement::Instruction(instruction) => instruction,
        other => panic!("{other:?}"),
    }
}

fn name(name: &str) -> Operand {
    Operand::Name { name: name.into(), negated: false }
}

fn constant(expression: &str) -> Operand {
    instruction(&format!("mov.u64 %r, {expression};")).operands.remove(1)
}

#[test]
fn operands_of_every_kind() {
    let operands = |text: &str| instruction(&format!("x {text};")).operands;
    assert_eq!(operands("%r1, %tid.x, _"), [name("%r1"), name("%tid.x"), Operand::Sink]);
    assert_eq!(operands("!%p"), [Operand::Name { name: "%p".into(), negated: true }]);
    assert_eq!(operands("{%a, _}"), [Operand::Vector(vec![name("%a"), Operand::Sink])]);
    assert_eq!(operands("%p|%q"), [Operand::Pair(Box::new(name("%p")), Box::new(name("%q")))]);
    let address =
        |base: Operand, offset: i64, more: Vec<Operand>| Operand::Address { base: Box::new(base), offset, more };
    assert_eq!(operands("[%rd+-4]"), [address(name("%rd"), -4, vec![])]);
    assert_eq!(operands("[array + 8 - 2*3]"), [address(name("array"), 2, vec![])]);
    assert_eq!(operands("[16]"), [address(Operand::Int(16), 0, vec![])]);
    let coordinates = Operand::Vector(vec![name("%r1"), name("%r2")]);
    assert_eq!(operands("[map, {%r1, %r2}]"), [address(name("map"), 0, vec![coordinates])]);
    let symbol = |generic: bool, offset: i64| Operand::Expression { name: "array".into(), generic, offset };
    assert_eq!(operands("array+4, generic(array)+8"), [symbol(false, 4), symbol(true, 8)]);
    assert_eq!(
        operands("0f3F800000, 1.5, -0d3FF0000000000000"),
        [Operand::F32(0x3F80_0000), Operand::F64(1.5f64.to_bits()), Operand::F64((-1f64).to_bits()),]
    );
}

#[test]
fn constant_expressions_are_folded_as_c_does() {
    let int = |value: i64| Operand::Int(value as u64);
    for (text, value) in [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("-7 / 2", -3),
        ("-7 % 4", -3),
        ("1 << 4 | 3 & 2 ^ 8", 26),
        ("~0", -1),
        ("!5 + !0", 1),
        ("3 > 2 && 2 >= 2 || 0", 1),
        ("-1 < 0U", 0),
        ("(.u64)-1 > 1", 1),
        ("-8 >> 1", -4),
        ("1 ? 10 : 20", 10),
        ("0x10 + 010 + 0b10", 26),
        ("WARP_SZ - 1", 31),
        ("5%3", 2),
        ("0xFFFFFFFFFFFFFFFF", -1),
        ("1 << 64", 0),
    ] {
        assert_eq!(constant(text), int(value), "{text}");
    }
    let error = error(".entry k() { mov.u64 %r, 1 / 0; }");
    assert_eq!(error, "line 4, column 31: a constant is divided by zero");
}

#[test]
fn variables_keep_their_shape_and_values() {
    let text = ".visible .global .align 16 .v4 .f32 table[2][3] = {{1.5, 0f00000000}, {2}};
        .extern .shared .align 128 .b8 dynamic[];
        .const .u64 pointers[] = {generic(table)+4, table, 7};
        .weak .global .b32 a = -1, b;
        .global .attribute(.managed) .u8 managed;";
    let source = source(text);
    let variables: Vec<_> = variables_of(&source);
    let [table, dynamic, pointers, a, b, managed] = variables[..] else { panic!("{}", variables.len()) };
    assert_eq!(
        (table.linkage, table.vector, &table.dimensions[..], table.align),
        (Linkage::Visible, 4, &[2, 3][..], 16)
    );
    assert_eq!(table.bytes(), Some(96));
    let (one_half, two) = (Initializer::F32(1.5f32.to_bits()), Initializer::F32(2f32.to_bits()));
    let rows = vec![Initializer::List(vec![one_half, Initializer::F32(0)]), Initializer::List(vec![two])];
    assert_eq!(table.init, Some(Initializer::List(rows)));
    assert_eq!((dynamic.space, dynamic.align, dynamic.bytes()), (VariableSpace::Shared, 128, Some(0)));
    let address = |generic: bool, offset: i64| Initializer::Address { name: "table".into(), generic, offset };
    assert_eq!(pointers.dimensions, [3]);
    assert_eq!(pointers.init, Some(Initializer::List(vec![address(true, 4), address(false, 0), Initializer::Int(7)])));
    assert_eq!((a.linkage, &a.init, &b.init), (Linkage::Weak, &Some(Initializer::Int(u64::MAX)), &None));
    assert_eq!(managed.ty, StorageType::B8);
}

#[test]
fn functions_keep_results_parameters_and_directives() {
    let text = ".extern .func (.param .b32 result) vprintf(.param .b64 format, .param .b64 values);
        .func (.reg .b32 %out) helper(.reg .b32 %in, .param .align 8 .b8 block[16]) .noreturn { ret; }
        .alias other, helper;
        .visible .entry k(.param .u64 .ptr .global .align 16 pointer, .param .align 64 .b8 map[128])
        .maxntid 128, 2 .minnctapersm 1 .maxnreg 96 .reqnctapercluster 2 .explicitcluster .maxclusterrank 8
        .pragma \"nounroll\"; { ret; }";
    let source = source(text);
    assert_eq!((&*source.target, &source.options[..]), ("sm_100a", &["debug".to_owned()][..]));
    let [Item::Function(vprintf), Item::Function(helper), Item::Alias { .. }, Item::Function(k)] = &source.items[..]
    else {
        panic!("{:?}", source.items)
    };
    assert_eq!((vprintf.results.len(), vprintf.params.len(), &vprintf.body), (1, 2, &None));
    assert!(helper.results[0].is_register && helper.params[0].is_register && !helper.params[1].is_register);
    assert!(k.is_entry);
    // An alignment after `.ptr` is of what is pointed to.
    assert_eq!((k.params[0].variable.align, k.params[1].variable.align), (8, 64));
    let directives = &k.directives;
    assert_eq!((directives.max_threads, directives.min_ctas_per_sm), (Some([128, 2, 1]), Some(1)));
    assert_eq!((directives.max_registers, directives.max_cluster_rank), (Some(96), Some(8)));
    assert_eq!((directives.required_cluster, directives.explicit_cluster), (Some([2, 1, 1]), true));
}

#[test]
fn statements_of_every_kind() {
    let statements = body(
        ".reg .b32 %r<4>, %x; .loc 1 2 3, function_name $L__info+4, inlined_at 1 2 3
        { .reg .pred p; @!p bra.uni DONE; } DONE: /* a comment
        of two lines */ ts: .branchtargets DONE, DONE;
        proto: .callprototype (.param .b32 _) _ (.param .b64 _) .noreturn;
        .param .b64 argument; call.uni (%x), f, (argument, 3), proto; .pragma \"x\"; brx.idx %r1, ts;",
    );
    let [
        Statement::Registers(numbered),
        Statement::Registers(single),
        Statement::Block(inner),
        Statement::Label(done, _),
        Statement::Targets(_, targets, 6),
        Statement::Prototype(_, results, params, _),
        Statement::Variable(argument),
        Statement::Instruction(call),
        Statement::Instruction(_),
    ] = &statements[..]
    else {
        panic!("{statements:#?}")
    };
    assert_eq!((&*numbered.name, numbered.count, single.count, &**done), ("%r", Some(4), None, "DONE"));
    let Statement::Instruction(branch) = &inner[1] else { panic!("{inner:?}") };
    assert_eq!((branch.guard.clone(), branch.spelling()), (Some(("p".into(), true)), "bra.uni".to_owned()));
    assert_eq!((targets.len(), results.len(), params.len(), argument.space), (2, 1, 1, VariableSpace::Param));
    let list = |operands: Vec<Operand>| Operand::List(operands);
    let arguments = vec![name("argument"), Operand::Int(3)];
    assert_eq!(call.operands, [list(vec![name("%x")]), name("f"), list(arguments), name("proto")]);
}

#[test]
fn debug_sections_are_skipped() {
    let text = ".file 1 \"a.cu\", 12, 34\n@@DWARF .byte 0x01\n.section .debug_info {\n.b8 1,2\n.b32 .debug_abbrev\nlabel:\n}\n";
    assert!(source(text).items.is_empty());
}

#[test]
fn what_is_refused_is_named_with_its_place() {
    assert_eq!(error(".bogus x;"), "line 4, column 8: there is no directive `.bogus` at module scope");
    assert_eq!(error(".entry k() { add.u32 %a %b; }"), "line 4, column 25: expected `,` or `;`, found `%b`");
    assert_eq!(error(".entry k() {"), "line 4, column 13: expected a statement or `}`, found the end of the text");
    assert_eq!(error(".global .texref t;"), "line 4, column 9: `.texref`: textures and surfaces are not supported");
    assert_eq!(
        error(".global .b8 x[1] = {0xFF(y)};"),
        "line 4, column 25: a mask over an address, as in `0xFF(name)`, is not supported"
    );
    assert_eq!(error("é"), "line 4, column 1: the character 'é' is no part of PTX");
    assert_eq!(error(".entry k() { mov.u32 %a, 0x; }"), "line 4, column 26: `0x` is not a number");
    assert_eq!(
        parse("").expect_err("empty").to_string(),
        "line 1, column 1: expected `.version`, found the end of the text"
    );
    assert!(error(".global .b64 x[4294967296][4294967296];").ends_with("the size of `x` does not fit in 64 bits"));
    assert!(error(".entry k() { .reg .b32 %r<99999999>; }").ends_with("declares more than 1048576 registers"));
}

#[test]
fn nesting_has_a_limit() {
    for open in ["{", "x (", "x {", "x -", "x !(", "x 1 ? "] {
        let text = format!(".entry k() {{ {}", open.repeat(2).replace("x ", "").repeat(50_000));
        let start = if open.starts_with('x') { "mov.b32 %r, " } else { "" };
        let message = error(&text.replacen("{ ", &format!("{{ {start}"), 1));
        assert!(message.contains("levels of nesting"), "{open}: {message}");
    }
    let lists = format!(".global .b8 x[1] = {}", "{".repeat(100_000));
    assert!(error(&lists).contains("levels of nesting"));
}

/// Real modules, to be broken.
static MODULES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/nvcc/ptx");
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .expect("the workspace has modules")
        .map(|entry| entry.expect("the folder is readable").path())
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).expect("modules are text")).collect()
});

/// Pieces that stand in PTX, and some that do not.
const PIECES: &[&str] = &[
    ".version",
    "8.6",
    ".target",
    "sm_90a",
    ".entry",
    ".func",
    "k",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "<",
    ">",
    ";",
    ":",
    ",",
    "+",
    "-",
    "*",
    "/",
    "%",
    "%r1",
    "_",
    "|",
    "!",
    "@",
    "@@",
    "=",
    ".reg",
    ".b32",
    ".v4",
    ".param",
    ".align",
    "16",
    "0",
    "0x",
    "0f3F800000",
    "1.5",
    "1e",
    ".5",
    "99999999999999999999",
    "\"",
    "\"text\"",
    "//",
    "/*",
    "*/",
    "\n",
    ".loc",
    ".file",
    ".section",
    ".pragma",
    "generic",
    "call",
    "add",
    ".global",
    ".callprototype",
    ".branchtargets",
    "::",
    "?",
    "WARP_SZ",
    "é",
    "\0",
    "(.u64)",
    "9223372036854775808",
    "<<",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn random_text_never_panics(text in "\\PC{0,200}") {
        let _ = parse(&text);
        let _ = parse(&format!(".version 8.0\n.target sm_90\n.entry k() {{ {text} }}"));
    }

    #[test]
    fn random_pieces_never_panic(
        picks in proptest::collection::vec(0..PIECES.len(), 0..60),
        spaced in any::<bool>(),
        inside in any::<bool>(),
    ) {
        let pieces: Vec<&str> = picks.iter().map(|pick| PIECES[*pick]).collect();
        let soup = pieces.join(if spaced { " " } else { "" });
        let head = if inside { ".version 8.0\n.target sm_90\n.entry k() {" } else { ".version 8.0\n.target sm_90\n" };
        let _ = parse(&format!("{head}{soup}"));
    }

    #[test]
    fn broken_modules_never_panic(
        module in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0..PIECES.len()), 0..4),
    ) {
        let text = &MODULES[module.index(MODULES.len())];
        let boundary = |mut at: usize, text: &str| {
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let mut broken = text[..boundary(cut.index(text.len() + 1), text)].to_owned();
        for (place, piece) in edits {
            let at = boundary(place.index(broken.len() + 1), &broken);
            broken.insert_str(at, PIECES[piece]);
        }
        let _ = parse(&broken);
    }
}
