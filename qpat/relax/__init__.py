"""Models on TVM's Relax: importing, showing them to the analyses of qpat.relay, partitioning."""
