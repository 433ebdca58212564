"""Parts of a traced network: what lies between two of its nodes, as a function of its own."""

from collections.abc import Iterable

from torch import fx


def section(traced: fx.GraphModule, start: fx.Node, end: fx.Node) -> fx.GraphModule | None:
    """Return the function of one node's output to that of a later one; its parameters are the network's own.

    None if the later one depends on others, too: on the network's input, or on a shortcut around `start`.
    """
    graph = fx.Graph()
    copies = {start: graph.placeholder("inputs")}
    nodes = list(traced.graph.nodes)
    for node in nodes[nodes.index(start) + 1 : nodes.index(end) + 1]:
        if copies.keys() >= set(node.all_input_nodes):
            copies[node] = graph.node_copy(node, copies.__getitem__)
    if end not in copies:
        return None
    if end.op != "output":
        graph.output(copies[end])
    part = fx.GraphModule(traced, graph)
    graph.eliminate_dead_code()
    part.delete_all_unused_submodules()
    part.recompile()
    return part


def reached_from(start: fx.Node, nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """Return those of some nodes, in order, that depend on `start`, itself among them."""
    reached = {start}
    for node in nodes:
        if not reached.isdisjoint(node.all_input_nodes):
            reached.add(node)
    return reached


def module_outputs(graph: fx.Graph) -> dict[str, fx.Node]:
    """Return the node that gives the output of each module, by the module's name."""
    last: dict[str, fx.Node] = {}
    for node in graph.nodes:
        for path in node.meta.get("nn_module_stack") or {}:
            last[path.partition("@")[0]] = node
        if node.op == "call_module":
            last[str(node.target)] = node
    return last
