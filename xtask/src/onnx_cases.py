"""Writes the backend cases of the installed `onnx` package to the folder given.

OUT/KIND/CASE/model.onnx, OUT/KIND/CASE/test_data_set_I/{input,output}_J.pb, and OUT/index.tsv with one row per case:
kind, case, opset of the default domain, operators, types of inputs and outputs, rtol, atol.
"""
import pathlib
import shutil
import sys
import warnings

import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

# Cases overflow and divide by zero on purpose.
warnings.simplefilter("ignore")

KINDS = ["node", "simple", "pytorch-converted", "pytorch-operator"]
MESSAGES = (onnx.TensorProto, onnx.SequenceProto, onnx.OptionalProto)


def encode(value, port):
    if isinstance(value, MESSAGES):
        return value.SerializeToString()
    to_proto = {
        "sequence_type": numpy_helper.from_list,
        "optional_type": numpy_helper.from_optional,
        "map_type": numpy_helper.from_dict,
    }.get(port.type.WhichOneof("value"), numpy_helper.from_array)
    return to_proto(value, port.name).SerializeToString()


def operators(graph):
    found = set()
    for node in graph.node:
        found.add(f"{node.domain}:{node.op_type}" if node.domain else node.op_type)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found |= operators(attribute.g)
    return found


def type_name(port):
    kind = port.type.WhichOneof("value")
    if kind != "tensor_type":
        return kind
    return onnx.TensorProto.DataType.Name(port.type.tensor_type.elem_type).lower()


def write(case, folder):
    if case.model is None:
        shutil.copytree(case.model_dir, folder)
        return onnx.load(folder / "model.onnx")
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    graph = case.model.graph
    for number, (inputs, outputs) in enumerate(case.data_sets):
        data = folder / f"test_data_set_{number}"
        data.mkdir()
        for name, values, ports in [("input", inputs, graph.input), ("output", outputs, graph.output)]:
            for position, (value, port) in enumerate(zip(values, ports)):
                (data / f"{name}_{position}.pb").write_bytes(encode(value, port))
    return case.model


def main():
    out = pathlib.Path(sys.argv[1])
    rows = []
    for kind in KINDS:
        for case in load_model_tests(kind=kind):
            model = write(case, out / kind / case.name)
            opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
            ports = [*model.graph.input, *model.graph.output]
            types = sorted({type_name(port) for port in ports})
            names = sorted(operators(model.graph))
            rows.append([kind, case.name, opset, ",".join(names), ",".join(types), case.rtol, case.atol])
    (out / "index.tsv").write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    print(f"onnx-cases {len(rows)} cases in {out}")


main()
