"""What is asked for: the queue that carries it out, the jobs it is made of, and the lines that are typed."""
