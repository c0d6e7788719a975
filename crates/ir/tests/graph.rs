//! The graph's own promises: text both ways, the verifier's faults, binding, evaluation.

use gable_ir::attr::ReduceKind;
use gable_ir::{Builder, Graph, Module, Op, Region, RegionKind, Type, text, verify};
use gable_tensor::{Bindings, DType, Dim, Tensor};

fn mlp() -> Module {
    let mut b = Builder::new("mlp");
    let x = b.input("x.1", Type::new(DType::F32, [Dim::symbol("n"), Dim::known(2)]));
    let w = b.weight("w", Tensor::from_vec([2, 3], &[1f32, 2.0, 3.0, 4.0, 5.0, 6.0])).expect("valid");
    b.set_origin(Some("fc \"one\"".into()));
    let product = b.matmul(x, w).expect("valid");
    let bias = b.constant(Tensor::from_vec([3], &[0.5f32, -0.5, -100.0])).expect("valid");
    let sum = b.plus(product, bias).expect("valid");
    let out = b.relu(sum).expect("valid");
    b.output("y", out);
    b.output("raw sum", sum);
    b.finish()
}

#[test]
fn text_reads_back_as_the_same_graph() {
    let mut graph = mlp().graph;
    let order = graph.order();
    let anchor: Vec<_> =
        order.iter().copied().filter(|&id| !matches!(graph.op(id), Op::Input(_) | Op::Weight(_))).collect();
    graph.regions = vec![Region::new("head", RegionKind::Contraction, anchor)];
    let printed = graph.to_string();
    insta::assert_snapshot!(printed, @r#"
    graph @mlp(%x.1: f32[n, 2]) {
      %0 = weight {key="w", dtype=f32, shape=[2, 3]} : f32[2, 3]
      region @head contraction {
        %1 = matmul %x.1, %0 {acc=f32, out=f32} : f32[n, 3] @"fc \"one\""
        %2 = const {value=f32[3](0.5, -0.5, -100.0)} : f32[3] @"fc \"one\""
        %3 = broadcast %2 {shape=[n, 3]} : f32[n, 3] @"fc \"one\""
        %4 = add %1, %3 : f32[n, 3] @"fc \"one\""
        %5 = relu %4 : f32[n, 3] @"fc \"one\""
      }
      return y = %5, "raw sum" = %4
    }
    "#);
    let parsed = text::parse(&printed).expect("printed text parses");
    assert_eq!(parsed, graph);
    assert_eq!(parsed.to_string(), printed);
}

#[test]
fn a_bound_graph_evaluates() {
    let mut module = mlp();
    module.graph = module.graph.bind(&Bindings::from([("n".into(), 1)])).expect("binds");
    assert_eq!(verify::verify_module(&module), []);
    let x = Tensor::from_vec([1, 2], &[1f32, 10.0]);
    let outputs = gable_ir::eval::evaluate(&module, &[("x.1", &x)]).expect("evaluates");
    assert_eq!(outputs[0].1.to_vec::<f32>(), [41.5, 51.5, 0.0]);
}

#[test]
fn a_wrong_input_is_named() {
    let mut module = mlp();
    module.graph = module.graph.bind(&Bindings::from([("n".into(), 1)])).expect("binds");
    let error =
        |inputs: &[(&str, &Tensor)]| gable_ir::eval::evaluate(&module, inputs).expect_err("is wrong").to_string();
    assert_eq!(error(&[]), "input `x.1` is not given");
    let x = Tensor::from_vec([2], &[1f32, 2.0]);
    assert_eq!(error(&[("x.1", &x)]), "input `x.1` is f32[2], expected f32[1, 2]");
}

#[test]
fn the_verifier_reports_every_fault() {
    let graph = text::parse(
        "graph @g(%x: f32[2], %\"\": f32[2]) {
           %0 = exp %x : f16[2]
           %1 = add %x : f32[2]
           %2 = gather %x, %x {axis=4} : f32[2]
           return a = %0, a = %1
         }",
    )
    .expect("parses");
    let faults: Vec<String> = verify::verify(&graph).iter().map(ToString::to_string).collect();
    insta::assert_debug_snapshot!(faults, @r#"
    [
        "%2 = exp: type is f16[2], expected f32[2]",
        "%3 = add: `add` has 1 operands, expected 2",
        "%4 = gather: `gather` indices are f32[2], expected i32 or i64",
        "an input: has an empty name",
        "output `a`: is named twice",
    ]
    "#);
}

#[test]
fn faulty_text_is_refused_with_its_place() {
    let error = |text: &str| text::parse(text).expect_err("is wrong").to_string();
    assert_eq!(
        error("graph @g(%x: f31[2]) { return }"),
        "line 1, column 17: unknown element type `f31`; known: bool, i8, i16, i32, i64, u8, u16, u32, u64, f64, f32, tf32, f16, bf16, e4m3, e5m2, e2m1, e2m3, e3m2, ue8m0"
    );
    assert_eq!(error("graph @g() {\n  %0 = frob : f32[]\n return }"), "line 2, column 13: unknown op `frob`");
    assert_eq!(
        error("graph @g() { %0 = exp %1 : f32[] return }"),
        "line 1, column 25: value %1 is not defined before its use"
    );
    assert_eq!(error("graph @g() { return } x"), "line 1, column 23: expected nothing after the graph");
}

/// A row of the table reaches text, the verifier and the docs without further code.
#[test]
fn every_row_has_its_facts() {
    let mut names: Vec<&str> = Op::TABLE.iter().map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Op::TABLE.len());
    for row in Op::TABLE {
        assert!(row.doc.last().is_some_and(|line| line.ends_with('.')), "{}: {:?}", row.name, row.doc);
        assert!(!row.groups.is_empty(), "{}", row.name);
    }
}

/// Composite rows and their decompositions agree on the type, and a decomposition exists for each.
#[test]
fn every_composite_row_decomposes() {
    let text = "graph @g(%x: bf16[1, 4, 6, 8], %s: bf16[8], %c: bf16[4], %a: bf16[6, 8]) {
        %0 = silu %x : bf16[1, 4, 6, 8]
        %1 = gelu %x {tanh=true} : bf16[1, 4, 6, 8]
        %2 = softmax %x {axis=1} : bf16[1, 4, 6, 8]
        %3 = log_softmax %x {axis=3} : bf16[1, 4, 6, 8]
        %4 = layer_norm %x, %s, %s {eps=1e-5} : bf16[1, 4, 6, 8]
        %5 = rms_norm %x, %s {eps=1e-5} : bf16[1, 4, 6, 8]
        %6 = group_norm %x, %c, %c {groups=2, eps=1e-5} : bf16[1, 4, 6, 8]
        %7 = rope %x, %a, %a {interleaved=false} : bf16[1, 4, 6, 8]
        %8 = attention %x, %x, %x {scale=0.5, causal=true, window=3, softcap=5.0} : bf16[1, 4, 6, 8]
        return a = %8 }";
    let graph = text::parse(text).expect("parses");
    assert_eq!(verify::verify(&graph), []);
    let mut seen = 0;
    for id in graph.ids() {
        if !graph.op(id).is(gable_ir::Group::Composite) {
            continue;
        }
        seen += 1;
        let mut b = Builder::over(Module { graph: graph.clone(), ..Module::default() });
        let op = graph.op(id).clone();
        let result =
            gable_ir::composite::decompose(&mut b, &op, &graph.operands(id)).expect("is composite").expect("builds");
        assert_eq!(b.ty(result), graph.ty(id), "{}", op.name());
        assert_eq!(verify::verify(&b.graph), []);
    }
    assert_eq!(seen, Op::TABLE.iter().filter(|row| row.groups.contains(&gable_ir::Group::Composite)).count());
}

#[test]
fn softmax_and_norm_rows_are_what_they_say() {
    let mut b = Builder::new("rows");
    let x = b.input("x", Type::new(DType::F32, [2usize, 3]));
    let soft = b.add(gable_ir::ops::Softmax { axis: 1 }, &[x]).expect("valid");
    let mean = b.reduce(ReduceKind::Mean, x, &[1], false).expect("valid");
    b.output("soft", soft);
    b.output("mean", mean);
    let x = Tensor::from_vec([2, 3], &[0f32, 0.0, 0.0, 1.0, 2.0, 3.0]);
    let outputs = gable_ir::eval::evaluate(&b.finish(), &[("x", &x)]).expect("evaluates");
    let soft = outputs[0].1.to_vec::<f32>();
    assert!((soft[0] - 1.0 / 3.0).abs() < 1e-7 && (soft[5] - 0.665_240_94).abs() < 1e-7, "{soft:?}");
    assert_eq!(outputs[1].1.to_vec::<f32>(), [0.0, 2.0]);
}

#[test]
fn replacing_uses_keeps_positions() {
    let mut graph = Graph::new("g");
    let (x, y) = (graph.input("x", Type::new(DType::F32, [2usize])), graph.input("y", Type::new(DType::F32, [2usize])));
    let difference = graph.add(gable_ir::ops::Sub {}, &[x, y]).expect("valid");
    graph.output("d", difference);
    let negated = graph.add(gable_ir::ops::Neg {}, &[y]).expect("valid");
    graph.replace_uses(y, negated);
    assert_eq!(graph.operands(difference), [x, negated]);
    assert_eq!(graph.operands(negated), [y]);
    assert_eq!(graph.remove_dead(), 0);
}

proptest::proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC*") {
        let _ = text::parse(&text);
    }

    #[test]
    fn mutated_text_never_panics(at in 0usize..500, with in "[%@{}\\[\\]():,=;\"a-z0-9. ]{0,4}") {
        let text = mlp().graph.to_string();
        let at = (0..=at.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        let mutated = format!("{}{with}{}", &text[..at], &text[at..]);
        if let Ok(graph) = text::parse(&mutated) {
            let _ = verify::verify(&graph);
        }
    }
}
