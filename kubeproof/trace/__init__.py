"""The walk of a packet: predicted from the state of nodes, hop by hop, there and back."""
